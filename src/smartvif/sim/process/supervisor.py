"""Starting a program again when it ends: what systemd does for a real host's daemons.

A process of its own, the program's parent:
``python -m smartvif.sim.process.supervisor LOCK COMMAND...``. It holds LOCK while it runs, so that
there is one for each program; it ends with its own parent, and the program with it.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

from smartvif.sim.process import namespaces

_PAUSE = 0.2  # seconds, so that a program that cannot start does not take a whole processor


def is_held(lock: Path) -> bool:
    """Whether a supervisor has the program in its care."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def supervise(lock: Path, command: list[str]) -> None:
    """Run the program again and again. Returns at once where another supervisor has the lock."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        while True:
            subprocess.run(command, preexec_fn=namespaces.die_with_parent, check=False)
            time.sleep(_PAUSE)


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), sys.argv[2:])
