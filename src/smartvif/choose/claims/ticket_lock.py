"""Turns of those who write one file, first come, first served, over threads and processes.

SQLite's own waiting is polling: whoever has just written is there first again, and others wait for
seconds. A lock of the kernel's alone is not fair either, because whom it wakes has yet to take it.
So everybody draws a number, holds the byte of that number in a side file, and waits for the byte
of the number before. The kernel frees the byte of who dies (fcntl_locking(2), open file
description locks); then two may have their turn at once, so turns are for order, not for safety.
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
    """The queue whose side file is ``path``, made if need be."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def mine(self) -> Iterator[int]:
        """Wait until those that came before have had their turn; yields the number drawn.

        Raises: OSError.
        """
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            number = _draw(handle)
            _lock(handle, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, number - 1, 1)
            yield number
        finally:
            # Closing is not enough where another thread has forked: its child has the file too.
            _lock(handle, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0, 0)
            os.close(handle)


def _draw(handle: int) -> int:
    """The next number. Who dies in here has not drawn it, or holds it no more."""
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
