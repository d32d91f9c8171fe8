"""Choosing beside Nova's scheduler, claiming beside OpenStack's Placement, on the same hosts.

Of Nova run its own pools, PciPassthroughFilter and PCIWeigher. Placement is the real one, on two
databases.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from bench.claims import claiming, engines
from bench.claims.claiming import Latency, Rate
from bench.claims.offers import PFS, VFS
from bench.spread import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured. ``fleet`` hosts are loaded into both, ``most`` into our store only."""

    hosts: tuple[int, ...]
    choices: int
    databases: tuple[str, ...]
    vfs: int
    crowds: tuple[int, ...]
    rounds: int
    fleet: int
    most: int


FULL = Size(
    hosts=(1, 10, 100, 1000),
    choices=15,
    databases=("postgresql", "mariadb"),
    vfs=VFS,
    crowds=(1, 16),
    rounds=20,
    fleet=100,  # more would take Placement minutes to be told
    most=1000,
)
QUICK = Size(
    hosts=(1, 10),
    choices=2,
    databases=("postgresql",),
    vfs=3,
    crowds=(1, 2),
    rounds=2,
    fleet=2,
    most=4,
)


def chosen(size: Size) -> list[str]:
    """The table of choices beside Nova's; what is to be said of the targets."""
    from bench.claims import host_choice  # not at the top: the processes that claim need no Nova

    print("Medians in ms, and ratios to the peer.")
    print(f"{'':<36}{'smartvif':>9}{'nova':>9}{'ratio':>8}")
    verdicts = []
    for row in host_choice.rows(size.hosts, size.choices):
        line = f"{row.what:<36}{row.ours * 1e3:9.2f}{row.peer * 1e3:9.2f}{row.ratio:8.3f}"
        print(line, flush=True)
        if row.target is not None:
            met = _met(row.ratio <= row.target)
            verdicts.append(f"{met} {row.what}: {row.ratio:.3f}, target {row.target:.2f}")
    return verdicts


def claimed(database: str, size: Size) -> list[str]:
    """The tables of claims beside Placement's on a database; what is to be said of the targets."""
    print(f"\n{'Placement on ' + database:<32}{'smartvif':^27}{'placement':^27}")
    columns = "".join(f"{each:>9}" for each in ("median", "p95", "worst") * 2)
    print(f"{'':<32}{columns}{'ratio':>8}")
    with (
        tempfile.TemporaryDirectory() as directory,
        engines.placement(database) as peer,
    ):
        ours = engines.store(Path(directory))
        for side in (ours, peer):
            claiming.publish(side, size.vfs)
        rates = []
        for latency, rate in claiming.races(ours, peer, size.crowds, size.vfs):
            _print_latency(latency)
            rates.append(rate)
        for latency in claiming.idle(ours, peer, size.rounds):
            _print_latency(latency)
        mine, theirs = claiming.fleet((ours, peer), size.fleet, size.vfs, size.rounds)
        _print_latency(Latency(what=f"pools of {size.fleet} hosts", ours=mine, peer=theirs))
        [mine] = claiming.fleet((ours,), size.most, size.vfs, size.rounds)
        _print_latency(Latency(what=f"pools of {size.most} hosts", ours=mine, peer=None))
    _print_rates(database, rates)
    return [_verdict(database, rate) for rate in rates]


def _print_latency(row: Latency) -> None:
    peer = f"{'-':>9}" * 3 if row.peer is None else _ms(row.peer)
    ratio = "-" if row.peer is None else f"{row.ours.median / row.peer.median:.3f}"
    print(f"{row.what:<32}{_ms(row.ours)}{peer}{ratio:>8}", flush=True)


def _ms(times: Spread) -> str:
    return "".join(f"{each * 1e3:9.2f}" for each in (times.median, times.p95, times.worst))


def _print_rates(database: str, rates: Sequence[Rate]) -> None:
    print(f"{'claims a second, ' + database:<36}{'smartvif':>9}{'placement':>11}{'ratio':>8}")
    for rate in rates:
        print(f"{rate.what:<36}{rate.ours:9.1f}{rate.peer:11.1f}{rate.ratio:8.1f}", flush=True)


def _verdict(database: str, rate: Rate) -> str:
    what = f"claims a second, {rate.what}, {database}"
    target = claiming.TARGET
    return f"{_met(rate.ratio >= target)} {what}: {rate.ratio:.1f} times, target {target:.0f}"


def _met(met: bool) -> str:
    return "met   " if met else "missed"


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="A smoke run: few rounds, few hosts, one database.")
@click.option("--fleet", type=int, help="Hosts to load into Placement; 1000 take it minutes.")
def main(quick: bool, fleet: int | None) -> None:
    """Measure, and print."""
    size = QUICK if quick else FULL
    if fleet is not None:
        size = replace(size, fleet=fleet)
    verdicts = chosen(size)
    for database in size.databases:
        verdicts += claimed(database, size)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print("\nPlacement's databases sync nothing to disk; our store, as always, not every claim")
    print(f"{PFS} PFs with {size.vfs} VFs each, {os.cpu_count()} processors, load {load}")
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
