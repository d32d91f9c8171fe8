"""smartvif's choice of a host and of VFs beside Nova's scheduler, in turns, on the same hosts.

Of Nova run its own pools, PciPassthroughFilter and PCIWeigher. Nothing is claimed by either.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import click

from nova_host import NovaScheduler
from nova_host import pools as nova_pools
from scenarios import Row
from smartvif.choose import traits
from smartvif.choose.pool import Pool
from smartvif.choose.request import DeviceRequest, DeviceType, request
from smartvif.choose.schedule import HostOffer, schedule
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network, Port, VifType, VnicType

PORTS, PFS, VFS = 4, 2, 64
TARGET = 0.25
"""Our time as a part of Nova's."""

_KINDS = 16  # hosts that differ; the others are like one of them
_OVS = frozenset({traits.datapath("ovs")})
_FIT = frozenset({traits.SWITCHDEV, traits.TUNNELLED, traits.vnic_type(VnicType.DIRECT)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    hosts: tuple[int, ...]
    rounds: int


FULL = Size(hosts=(1, 10, 100, 1000), rounds=15)
QUICK = Size(hosts=(1, 10), rounds=3)


def card(number: int, used: int) -> Pool:
    """A PF of whose VFs so many are in use."""
    functions = [PciAddress(0, 0x40 + number, index // 8, index % 8) for index in range(VFS)]
    return Pool(
        host="any",
        pf=PciAddress(0, 0x03 + number, 0, 0),
        device=DeviceType.VF,
        total=VFS,
        free=VFS - used,
        functions=tuple(functions[used:]),
        held=dict.fromkeys(functions[:used], "in use"),
        numa_node=number,
        traits=_FIT,
    )


def port(number: int) -> DeviceRequest:
    """What a direct port on a tunnelled network needs."""
    asked = Port(
        id=f"{number:08x}-0000-4000-8000-000000000000",
        mac=f"fa:16:3e:00:00:{number:02x}",
        network=Network(id="net"),
        vnic_type=VnicType.DIRECT,
    )
    return request(asked, VifType.OVS)


def rows(size: Size) -> list[Row]:
    """The time for a machine's host, by the number of hosts."""
    chance = random.Random(34)  # noqa: S311  (the same hosts every time)
    kinds = [
        tuple(card(number, chance.randint(VFS // 2, VFS)) for number in range(PFS))
        for _ in range(_KINDS)
    ]
    told = [nova_pools(kind) for kind in kinds]
    return [_row(count, size.rounds, kinds, told) for count in size.hosts]


def _row(count: int, rounds: int, kinds: Sequence[tuple[Pool, ...]], told: Sequence[Any]) -> Row:
    hosts = [
        HostOffer(name=f"host-{number}", traits=_OVS, pools=kinds[number % _KINDS])
        for number in range(count)
    ]
    nova = NovaScheduler([(each.name, told[n % _KINDS]) for n, each in enumerate(hosts)])
    wanted = [port(number) for number in range(PORTS)]
    seconds: dict[str, list[float]] = {"smartvif": [], "nova": []}
    for number in range(-1, rounds):  # the first round is not counted
        decision, ours = _timed(lambda: schedule(hosts, wanted))
        found, peer = _timed(lambda: nova.schedule(PORTS))
        fit = {verdict.name for verdict in decision.verdicts if verdict.problem is None}
        if fit != set(found):
            raise RuntimeError(f"the two do not find the same hosts: {fit ^ set(found)}")
        if number >= 0:
            seconds["smartvif"].append(ours)
            seconds["nova"].append(peer)
    return Row(
        what=f"host for {PORTS} ports, hosts: {count}",
        ours=median(seconds["smartvif"]),
        peer=median(seconds["nova"]),
        target=TARGET,
    )


def _timed(act: Callable[[], Any]) -> tuple[Any, float]:
    gc.collect()
    start = time.perf_counter()
    result = act()
    return result, time.perf_counter() - start


def _verdict(row: Row, target: float) -> str:
    met = "met   " if row.ratio <= target else "missed"
    return f"{met} {row.what}: {row.ratio:.3f}, target {target:.2f}"


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="A smoke run: few rounds, few hosts.")
def main(quick: bool) -> None:
    """Measure, and print."""
    print("Medians in ms, and ratios to the peer.")
    print(f"{'':<36}{'smartvif':>9}{'nova':>9}{'ratio':>8}")
    done = []
    for row in rows(QUICK if quick else FULL):
        print(f"{row.what:<36}{row.ours * 1e3:9.2f}{row.peer * 1e3:9.2f}{row.ratio:8.3f}")
        done.append(row)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{PFS} PFs with {VFS} VFs each, {os.cpu_count()} processors, load {load}")
    for row in done:
        print(_verdict(row, TARGET))


if __name__ == "__main__":
    main()
