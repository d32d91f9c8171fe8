"""Pings that run in a guest while something else goes on, and their replies."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass
from itertools import pairwise

from smartvif.model.errors import Failed
from smartvif.sim.guest.console import Console

INTERVAL = 0.01  # seconds between two packets


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies:
    """What came back. ``longest_gap`` is the longest time in seconds without a reply."""

    sent: int
    received: int
    longest_gap: float

    @property
    def lost(self) -> int:
        """How many packets were not answered."""
        return self.sent - self.received


class Pinging:
    """A ping of ``address`` in the guest behind ``console``, begun now.

    Raises: as ``Console.run``; Failed, where it ends at once.
    """

    def __init__(self, console: Console, address: str) -> None:
        self._console = console
        self._address = address
        self._file = f"/tmp/{uuid.uuid4().hex}.ping"  # noqa: S108  (the guest's)
        self._begun = time.monotonic()
        self._id = self._said(f"ping -i {INTERVAL} {address} >{self._file} 2>&1 & echo $!")

    def stop(self) -> Replies:
        """End it, as Ctrl-C does.

        Raises: as ``Console.run``; Failed, where it had ended before.
        """
        self._said(f"kill -INT {self._id}")
        seconds = time.monotonic() - self._begun
        ended = f"while [ -d /proc/{self._id} ]; do usleep 1000; done"
        return replies(self._said(f"{ended}; cat {self._file}; rm {self._file}"), seconds)

    def _said(self, command: str) -> str:
        code, said = self._console.run(command, timeout=60.0)
        text = said.decode(errors="replace").strip()
        if code != 0:
            raise Failed(f"exit code {code}: {text}", where=f"ping {self._address} in the guest")
        return text


def replies(said: str, seconds: float) -> Replies:
    """What busybox's ping said, which ran that long.

    A reply came when its packet was sent, one after the other at equal times, and its own time
    later: a packet that waits long counts as much as one that is lost. The end counts as well.
    Raises: Failed, where it does not say how many packets it sent.
    """
    total = re.search(r"^(\d+) packets transmitted, (\d+) packets received", said, re.MULTILINE)
    if total is None:
        raise Failed(f"it ends without a result: {said[-200:]!r}", where="ping")
    sent = int(total[1])
    pace = seconds / max(sent, 1)
    found = re.findall(r" seq=(\d+) .*time=([\d.]+) ms$", said, re.MULTILINE)
    arrivals = sorted(int(number) * pace + float(late) / 1000 for number, late in found)
    gaps = [later - earlier for earlier, later in pairwise([0.0, *arrivals, seconds])]
    return Replies(sent=sent, received=int(total[2]), longest_gap=max(gaps))
