"""A FIFO ticket lock for the writers of one file, across threads and processes.

SQLite waits by polling, so the last writer usually wins again and others wait for seconds. A kernel
lock alone is not fair either: the process it wakes must still take the lock. So each writer draws a
ticket number, locks the byte of that number in a side file, and waits for the byte of the number
before. The kernel releases the byte of a process that dies (fcntl_locking(2), open file description
locks); then two writers may run at once, so the lock gives order, not mutual exclusion.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NUMBER = 8  # bytes of the last number drawn, at the beginning of the file


class TicketLock:
    """The lock whose side file is ``path``, which is created if absent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def acquire(self) -> Iterator[int]:
        """Hold the lock in the body, after all earlier writers; yields the ticket number.

        Raises: OSError.
        """
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            number = _draw(handle)
            _lock(handle, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, number - 1, 1)
            yield number
        finally:
            # Closing does not release it if another thread has forked: the child has the file too.
            _lock(handle, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0, 0)
            os.close(handle)


def _draw(handle: int) -> int:
    """Draw the next ticket number. A process that dies in here leaves no lock behind."""
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        number = int.from_bytes(os.pread(handle, _NUMBER, 0), "big") + 1
        _lock(handle, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, number, 1)
        os.pwrite(handle, number.to_bytes(_NUMBER, "big"), 0)
        return number
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _lock(handle: int, command: int, kind: int, start: int, length: int) -> None:
    """One ``struct flock``; its l_pid has to be 0 here. A length of 0 is all that follows."""
    fcntl.fcntl(handle, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))
