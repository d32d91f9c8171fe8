"""Batching of requests that several threads make at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from smartvif.model.deadline import Deadline
from smartvif.model.errors import SmartvifError, TimedOut

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Request(Generic[T]):
    value: T
    done: bool = False
    error: BaseException | None = None


class Batcher(Generic[T]):
    """Passes requests to ``act`` in batches; a lone one does not wait.

    The first thread acts at once, for itself. Threads that arrive meanwhile wait; the first of
    them to get the lock acts for all. ``act`` returns, or yields an error for each request.
    """

    def __init__(self, act: Callable[[Sequence[T], Deadline], Sequence[SmartvifError | None]]):
        self._act = act
        self._queue: list[_Request[T]] = []
        self._queueing = threading.Lock()
        self._acting = threading.Lock()

    def submit(self, value: T, deadline: Deadline) -> None:
        """Have ``act`` process ``value``, alone or in a batch.

        Raises: the error that ``act`` gave for it; TimedOut, where its turn did not come.
        """
        mine = _Request(value)
        with self._queueing:
            self._queue.append(mine)
        if not self._acting.acquire(timeout=deadline.left()):
            self._give_up(mine, deadline)
            self._acting.acquire()  # another thread acts for us already, within its own deadline
        try:
            if not mine.done:
                self._act_for_all(deadline)
        finally:
            self._acting.release()
        if mine.error is not None:
            raise mine.error

    def _act_for_all(self, deadline: Deadline) -> None:
        with self._queueing:
            batch, self._queue = self._queue, []
        errors: Sequence[BaseException | None]
        try:
            errors = self._act([request.value for request in batch], deadline)
        except BaseException as failure:
            errors = [failure] * len(batch)
        for request, error in zip(batch, errors, strict=True):
            request.error = error
            request.done = True

    def _give_up(self, mine: _Request[T], deadline: Deadline) -> None:
        """Leave the queue; return where that is too late."""
        with self._queueing:
            if mine not in self._queue:
                return
            self._queue.remove(mine)
        raise TimedOut(
            f"still queued after {deadline.seconds:g} s",
            hint="the switch is very busy, or stuck",
        )
