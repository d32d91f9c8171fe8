"""Processes that claim every VF of a host, one after another, through any engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from engines import PATIENCE, Side
from offers import port
from smartvif.choose.claims.store import ClaimStore
from smartvif.choose.selection.select import select
from smartvif.model.errors import Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process, or all of them, claimed, and from when until when on the monotonic clock.

    ``latencies`` are in seconds, from asking what is free until a VF is claimed.
    """

    owners: tuple[str, ...]
    latencies: tuple[float, ...]
    began: float
    ended: float

    @property
    def rate(self) -> float:
        """Claims a second."""
        return len(self.owners) / (self.ended - self.began)


def race(side: Side, host: str, processes: int, vfs: int) -> Run:
    """Let so many processes claim the ``vfs`` that the host has, and release them again.

    Raises: RuntimeError, where they have not claimed each of them once; queue.Empty, where a
    process has failed.
    """
    context = get_context("forkserver")
    start, results = context.Barrier(processes), context.Queue()
    crowd = [
        context.Process(target=_claim_all, args=(side.open, host, start, results), daemon=True)
        for _ in range(processes)
    ]
    for each in crowd:
        each.start()
    runs: list[Run] = [results.get(timeout=PATIENCE) for _ in crowd]
    for each in crowd:
        each.join(PATIENCE)
    found = Run(
        owners=tuple(owner for run in runs for owner in run.owners),
        latencies=tuple(seconds for run in runs for seconds in run.latencies),
        began=min(run.began for run in runs),
        ended=max(run.ended for run in runs),
    )
    engine = side.open()
    known = sorted(claim.owner for claim in engine.claims(host))
    if len(known) != vfs or known != sorted(found.owners):
        raise RuntimeError(f"of {vfs} VFs {len(found.owners)} were claimed, {len(known)} are so")
    for owner in known:
        engine.release(owner)
    return found


def _claim_all(
    opened: Callable[[], ClaimStore], host: str, start: Barrier, results: Queue[Run]
) -> None:
    """In a process of its own: claim until nothing is left."""
    engine = opened()
    engine.pools([port()], host)  # connections and caches are not counted
    owners, latencies = list[str](), list[float]()
    start.wait(PATIENCE)
    began = ended = time.monotonic()
    while (owner := _claim(engine, host)) is not None:
        before, ended = ended, time.monotonic()
        owners.append(owner)
        latencies.append(ended - before)
    results.put(Run(owners=tuple(owners), latencies=tuple(latencies), began=began, ended=ended))


def _claim(engine: ClaimStore, host: str) -> str | None:
    """Choose and claim until it succeeds; whose it is, None where there is none."""
    request = port()
    while True:
        selection = select(engine.pools([request], host), [request])
        if selection.problem is not None:
            return None
        try:
            engine.claim(selection.choices)
        except Conflict:
            continue
        return request.id
