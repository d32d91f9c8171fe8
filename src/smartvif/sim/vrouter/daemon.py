"""Starting the simulated vRouter, as the simulated host does and tests do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from smartvif.model.errors import Failed, Refused, TimedOut
from smartvif.sim.process import daemons
from smartvif.sim.vrouter.api import PORT

_LONGEST = 60.0  # seconds until it listens


@dataclass(slots=True, kw_only=True)
class VRouter:
    """One vRouter. Its ports' files and its log are in ``directory``.

    With an ``underlay`` address it makes tunnels to ``peers``, the other hosts' addresses.
    ``upstream`` gives its port API the real agent's quirks.
    """

    directory: Path
    underlay: str | None = None
    peers: tuple[str, ...] = ()
    upstream: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def ports(self) -> Path:
        """Where the ports' files are."""
        return self.directory / "ports"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.directory / "vrouter.log"

    @property
    def pid(self) -> Path:
        """The file with its process's number."""
        return self.directory / "vrouter.pid"

    def start(self) -> None:
        """Start it; return when the port API takes connections.

        Raises: Refused, where one is at work; Failed with the log's last lines, TimedOut.
        """
        if _listened_on():
            raise Refused("another vRouter is at work here", where="vRouter")
        argv: list[str | Path] = [sys.executable, "-m", "smartvif.sim.vrouter"]
        argv += ["--ports", self.ports]
        argv += ["--underlay", self.underlay] if self.underlay else []
        for peer in self.peers:
            argv += ["--peer", peer]
        argv += ["--upstream"] if self.upstream else []
        self.process = daemons.spawn(argv, self.log)
        self.pid.write_text(str(self.process.pid))
        end = time.monotonic() + _LONGEST
        while not _listened_on():
            if self.process.poll() is not None:
                raise Failed(f"it ended at its start: {daemons.tail(self.log)}", where="vRouter")
            if time.monotonic() > end:
                raise TimedOut(f"it does not listen: {daemons.tail(self.log)}", where="vRouter")
            time.sleep(0.005)

    def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a word."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        os.kill(int(self.pid.read_text()), how)
        if self.process is not None:  # else it is another's child
            self.process.wait(_LONGEST)
        while _listened_on():
            time.sleep(0.005)


def _listened_on() -> bool:
    with socket.socket(socket.AF_INET) as client:
        return client.connect_ex(("127.0.0.1", PORT)) == 0
