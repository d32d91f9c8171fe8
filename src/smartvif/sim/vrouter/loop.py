"""One thread that does all of the vRouter's work, and a way for other threads to have it do theirs.

Nothing that this thread works on needs a lock.
"""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

T = TypeVar("T")

_LONGEST = 60.0  # seconds that another thread waits for its answer


class _File(Protocol):
    def fileno(self) -> int: ...


class Loop:
    """The loop of the thread that makes it; that thread calls ``run`` at last."""

    def __init__(self) -> None:
        self._owner = threading.get_ident()
        self._selector = selectors.DefaultSelector()
        self._asked: deque[Callable[[], None]] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._bell, selectors.EVENT_READ, self._answer)

    def watch(self, file: _File, act: Callable[[], None]) -> None:
        """Call ``act`` whenever there is something to read."""
        self._selector.register(file, selectors.EVENT_READ, act)

    def unwatch(self, file: _File) -> None:
        """Stop watching a file; call it before the file is closed."""
        self._selector.unregister(file)

    def call(self, act: Callable[[], T]) -> T:
        """Have the loop's thread do it, and wait until it is done; what it returns or raises.

        Raises: TimeoutError, where the loop is busy with something else for ten seconds.
        """
        if threading.get_ident() == self._owner:
            return act()
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(act())
            except Exception as error:
                answer.set_exception(error)

        self._asked.append(run)
        os.eventfd_write(self._bell, 1)
        return answer.result(_LONGEST)

    def run(self, tick: Callable[[], None], *, seconds: float = 1.0) -> None:
        """Work, for ever. ``tick`` is called about every that many seconds."""
        due = time.monotonic() + seconds
        while True:
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                key.data()
            if time.monotonic() >= due:
                tick()
                due = time.monotonic() + seconds

    def _answer(self) -> None:
        os.eventfd_read(self._bell)
        while self._asked:
            self._asked.popleft()()
