"""One side of the comparison, in a process of its own, so that none holds up another's threads."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Protocol

from bench.plug.cases import Case

_FORK = multiprocessing.get_context("fork")


class Side(Protocol):
    """What every side can do."""

    def plug(self, case: Case) -> None:
        """Plug one port, and return when the switch has it."""

    def unplug(self, case: Case) -> None:
        """Take it away again."""


class Worker:
    """A process with a side in it. It is made there by ``make``."""

    def __init__(self, name: str, make: Callable[[], Side]) -> None:
        self.name = name
        self._pipe, theirs = _FORK.Pipe()
        process = _FORK.Process(target=_serve, args=(theirs, make), name=name, daemon=True)
        process.start()
        theirs.close()

    def call(self, method: str, *arguments: Any) -> tuple[float, Any]:
        """Call one of the side's methods: the seconds that it took there, and what it returned.

        Raises: RuntimeError with the other process's traceback.
        """
        self._pipe.send((method, arguments))
        seconds, result, failure = self._pipe.recv()
        if failure is not None:
            raise RuntimeError(f"{self.name}: {failure}")
        return seconds, result

    def burst(self, method: str, cases: Sequence[Case], threads: int) -> tuple[float, float]:
        """Call ``plug`` or ``unplug`` for all ``cases`` from so many threads.

        One thread makes one call for all of them, where the side has one.

        Returns the seconds that it took, and those that its process spent on a processor.
        Raises: RuntimeError.
        """
        return self.call("burst", method, cases, threads)


def _serve(pipe: Connection, make: Callable[[], Side]) -> None:
    side = make()
    while True:
        method, arguments = pipe.recv()
        result, failure = None, None
        start = time.perf_counter()
        try:
            if method == "burst":
                result = _burst(side, *arguments)
            else:
                result = getattr(side, method)(*arguments)
        except Exception:
            failure = traceback.format_exc()
        pipe.send((time.perf_counter() - start, result, failure))


def _burst(side: Side, method: str, cases: Sequence[Case], threads: int) -> float:
    call, start = getattr(side, method), time.process_time()
    together = getattr(side, f"{method}_all", None)
    if threads == 1 and together is not None:
        together(cases)
    elif threads == 1:
        for case in cases:
            call(case)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(call, cases))
    return time.process_time() - start
