"""smartvif's plugging beside that of others, interleaved, on one simulated host.

On Open vSwitch the other is os-vif's own ``ovs`` plugin, on the vRouter a script run for each port.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

import scenarios
from cases import Kind
from rig import Rig
from scenarios import Row
from smartvif.sim import host
from smartvif.sim.nic.nic import NicLayout
from vrouter_rig import VRouterRig


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    rounds: int
    vrouter_rounds: int
    bursts: int
    burst: int
    threads: tuple[int, ...]
    others: tuple[int, ...]
    vfs: tuple[int, ...]


FULL = Size(
    rounds=24,
    vrouter_rounds=16,
    bursts=5,
    burst=64,
    threads=(1, 8, 64),
    others=(128, 512),
    vfs=(8, 64, 256, 1024),
)
QUICK = Size(
    rounds=2, vrouter_rounds=2, bursts=1, burst=8, threads=(1, 8), others=(8,), vfs=(8, 64)
)


def vrouter_rows(rig: VRouterRig, size: Size) -> Iterator[Row]:
    """Everything on the vRouter, measurement by measurement."""
    for kind in (Kind.TAP, Kind.REPRESENTOR):
        yield from scenarios.vrouter(rig, kind, size.vrouter_rounds)


def ovs_rows(rig: Rig, size: Size) -> Iterator[Row]:
    """Everything on Open vSwitch, measurement by measurement; it leaves ports and another /sys."""
    for kind in (Kind.TAP, Kind.REPRESENTOR):
        yield from scenarios.single(rig, kind, size.rounds)
    for threads in size.threads:
        yield from scenarios.burst(rig, size.burst, threads, size.bursts)
    for others in size.others:
        rig.fill(others)
        yield from scenarios.single(rig, Kind.REPRESENTOR, size.rounds)
    for vfs in size.vfs:
        yield from scenarios.look_up(rig, vfs, size.rounds)


def inside(size: Size) -> int:
    """The whole bench, in the simulated host."""
    # os-vif's libraries warn of each other in both of its processes.
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    os.environ["no_proxy"] = "*"  # the agent on the loopback address is behind none
    print(
        "Medians in ms, and ratios to the peer. Floor: the least that it can cost on this switch."
    )
    done = _table("script", vrouter_rows(VRouterRig(), size))
    rig = Rig()
    done += _table("os-vif", ovs_rows(rig, size))
    print()
    for kind, late in rig.late.items():
        print(f"os-vif returned before the {kind} worked {late} times; smartvif never does")
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Simulated SmartNIC, userspace datapath, {os.cpu_count()} processors, load {load}")
    for row in done:
        if row.target is not None:
            print(_verdict(row, row.target))
    return 0


def _table(peer: str, rows: Iterable[Row]) -> list[Row]:
    """Print the rows as they come."""
    print(f"{'':<36}{'smartvif':>9}{peer:>9}{'floor':>9}{'ratio':>8}{'floor':>8}")
    done = []
    for row in rows:
        print(_line(row), flush=True)
        done.append(row)
    return done


def _line(row: Row) -> str:
    floor = f"{'-':>9}" if row.floor is None else f"{row.floor * 1e3:9.2f}"
    floor_ratio = f"{'-':>8}" if row.floor is None else f"{row.floor / row.peer:8.3f}"
    ours, peer = row.ours * 1e3, row.peer * 1e3
    return f"{row.what:<36}{ours:9.2f}{peer:9.2f}{floor}{row.ratio:8.3f}{floor_ratio}"


def _verdict(row: Row, target: float) -> str:
    met = row.ratio <= target
    line = f"{'met   ' if met else 'missed'} {row.what}: {row.ratio:.3f}, target {target:.2f}"
    if met:
        return line
    if row.floor is not None and row.floor > target * row.peer:
        line += f" (the floor is at {row.floor / row.peer:.3f})"
    spent = sorted(row.parts.items(), key=lambda part: -part[1])
    return "\n".join([line, *(f"         {value * 1e3:8.2f} ms  {part}" for part, value in spent)])


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="A smoke run: few rounds, small numbers.")
def main(quick: bool) -> None:
    """Make the simulated host and run in it."""
    card = host.SimulatedHost(nic=NicLayout(pfs=1, vfs=scenarios.VFS))
    sys.exit(host.run(card, lambda: inside(QUICK if quick else FULL)))


if __name__ == "__main__":
    main()
