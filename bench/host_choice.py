"""The choice of a host for a machine: ours and Nova's, in turns."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from nova_host import NovaScheduler
from nova_host import pools as nova_pools
from offers import OVS, PFS, VFS, card, port
from scenarios import Row
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.schedule import HostOffer, schedule
from spread import timed

PORTS = 4
TARGET = 0.5
"""Our time as a part of Nova's, on more than one host."""

_KINDS = 16  # hosts that differ; the others are like one of them


def rows(counts: Sequence[int], rounds: int) -> Iterator[Row]:
    """The time for a machine's host, by the number of hosts."""
    chance = random.Random(34)  # noqa: S311  (the same hosts every time)
    kinds = [
        tuple(card("any", number, used=chance.randint(VFS // 2, VFS)) for number in range(PFS))
        for _ in range(_KINDS)
    ]
    told = [nova_pools(kind) for kind in kinds]
    for count in counts:
        yield _row(count, rounds, kinds, told)


def _row(count: int, rounds: int, kinds: Sequence[tuple[Pool, ...]], told: Sequence[Any]) -> Row:
    hosts = [
        HostOffer(name=f"host-{number}", traits=OVS, pools=kinds[number % _KINDS])
        for number in range(count)
    ]
    nova = NovaScheduler([(each.name, told[n % _KINDS]) for n, each in enumerate(hosts)])
    wanted = [port() for _ in range(PORTS)]
    seconds: dict[str, list[float]] = {"smartvif": [], "nova": []}
    for number in range(-1, rounds):  # the first round is not counted
        decision, ours = timed(lambda: schedule(hosts, wanted))
        found, peer = timed(lambda: nova.schedule(PORTS))
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
        target=TARGET if count > 1 else None,
    )
