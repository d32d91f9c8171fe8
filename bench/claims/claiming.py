"""Claims by our store and by Placement, in turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bench.claims.engines import Side
from bench.claims.offers import PFS, card, port
from bench.claims.race import race
from bench.spread import Spread, spread, timed
from smartvif.choose.claims.store import ClaimStore
from smartvif.choose.selection.select import select

TARGET = 20.0
"""Our claims a second, as a multiple of Placement's."""

_NAME = "host-{}"
_HOST = _NAME.format(0)  # that processes race for
_MACHINE = 4  # ports of a machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long the same took both; ``peer`` None: only we did it."""

    what: str
    ours: Spread
    peer: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Claims a second."""

    what: str
    ours: float
    peer: float

    @property
    def ratio(self) -> float:
        """Ours as a multiple of the peer's."""
        return self.ours / self.peer


def publish(side: Side, vfs: int) -> None:
    """The host that processes race for, each of its PFs with so many VFs."""
    _publish(side, _HOST, vfs)


def races(
    ours: Side, peer: Side, crowds: Sequence[int], vfs: int
) -> Iterator[tuple[Latency, Rate]]:
    """So many processes claim all VFs of the host."""
    for processes in crowds:
        mine, theirs = (race(side, _HOST, processes, PFS * vfs) for side in (ours, peer))
        what = f"processes: {processes}"
        yield (
            Latency(
                what=f"choose and claim, {what}",
                ours=spread(mine.latencies),
                peer=spread(theirs.latencies),
            ),
            Rate(what=what, ours=mine.rate, peer=theirs.rate),
        )


def idle(ours: Side, peer: Side, rounds: int) -> Iterator[Latency]:
    """A port's device, and those of a machine's ports at once, without concurrent claims."""
    engines = {"ours": ours.open(), "peer": peer.open()}
    for ports in (1, _MACHINE):
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        for number in range(-1, rounds):  # the first round is not counted
            for name, engine in engines.items():
                took = _claim_and_release(engine, ports)
                if number >= 0:
                    seconds[name].append(took)
        spreads = {name: spread(each) for name, each in seconds.items()}
        yield Latency(what=f"claim and release, ports: {ports}", **spreads)


def _claim_and_release(engine: ClaimStore, ports: int) -> float:
    requests = [port() for _ in range(ports)]
    choices = select(engine.pools(requests, _HOST), requests).choices

    def act() -> None:
        engine.claim(choices)
        for request in requests:
            engine.release(request.id)

    return timed(act)[1]


def fleet(sides: Sequence[Side], hosts: int, vfs: int, rounds: int) -> list[Spread]:
    """How long each takes to say what so many hosts have.

    Of Placement it is asked what would do for a port, of 100 candidates at most.
    """
    for side in sides:
        for number in range(hosts):
            _publish(side, _NAME.format(number), vfs)
    engines = [side.open() for side in sides]
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(-1, rounds):
        for engine, each in zip(engines, seconds, strict=True):
            found, took = timed(partial(engine.pools, [port()]))
            assert found
            if number >= 0:
                each.append(took)
    return [spread(each) for each in seconds]


def _publish(side: Side, host: str, vfs: int) -> None:
    side.publish(host, [card(host, number, vfs=vfs) for number in range(PFS)])
