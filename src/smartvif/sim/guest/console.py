"""Commands in a guest, through the agent on its second serial port."""

from __future__ import annotations

import base64
import math
import re
import socket
import time
import uuid
from pathlib import Path

from smartvif.model.errors import CannotTell, TimedOut
from smartvif.sim.guest.image import KILLED

# How long the agent may take to answer beyond the command's own time, in seconds.
_GRACE = 10.0


class Console:
    """A guest's agent. ``path`` is the UNIX socket of its serial port.

    Each command has a connection of its own. QEMU serves one at a time and keeps the next waiting,
    so commands of several threads or processes run one after the other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def run(self, command: str, timeout: float = 30.0) -> tuple[int, bytes]:
        """Run a busybox shell command; returns its exit code and its output, both streams as one.

        ``timeout`` is in seconds. At its end the command is killed with all it started, and the
        agent is free for the next one.

        Raises: TimedOut; CannotTell, where there is no guest behind the socket.
        """
        # The name tells our reply from the rest of an earlier one that was not read.
        name = uuid.uuid4().hex
        limit = max(1, math.ceil(timeout))
        text = base64.b64encode(command.encode()).decode()
        end = time.monotonic() + limit
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(limit + _GRACE)
                line.connect(str(self._path))
                line.sendall(f"{name} {limit} {text}\n".encode())
                code, output = _reply(line, name, end + _GRACE)
        except TimeoutError as error:
            what = f"the guest's agent did not answer within {limit} s"
            raise TimedOut(what, where=self._where(command)) from error
        except OSError as error:
            what = f"the guest's agent cannot be reached: {error.strerror or error}"
            hint = "is the guest running?"
            raise CannotTell(what, where=self._where(command), hint=hint) from error
        if code == KILLED and time.monotonic() >= end:
            words = output[-200:].decode(errors="replace")
            what = f"not done after {limit} s; its output ends: {words!r}"
            raise TimedOut(what, where=self._where(command))
        return code, output

    def _where(self, command: str) -> str:
        return f"'{command}' in guest {self._path.stem}"


def _reply(line: socket.socket, name: str, end: float) -> tuple[int, bytes]:
    """Read up to the end of the reply called ``name``.

    Raises: TimeoutError, OSError.
    """
    header = re.compile(rb"\n@%s (\d+) (\d+)\n" % name.encode())
    received = bytearray()
    while (match := header.search(received)) is None:
        received += _received(line, end)
    start, length = match.end(), int(match[2])
    while len(received) < start + length:
        received += _received(line, end)
    return int(match[1]), bytes(received[start : start + length])


def _received(line: socket.socket, end: float) -> bytes:
    line.settimeout(max(0.001, end - time.monotonic()))
    data = line.recv(65536)
    if not data:
        raise ConnectionResetError("the guest ended")
    return data
