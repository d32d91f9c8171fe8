"""A command on another host of a simulated fleet, as by ssh: ``enter HOST COMMAND...``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from smartvif.model.errors import SmartvifError
from smartvif.sim.host import FLEET
from smartvif.sim.process import namespaces

_UNREACHED = 255  # as ssh(1) exits


def main() -> None:
    """Become the command.

    Raises: Failed, where the host has ended.
    """
    name, *command = sys.argv[1:]
    try:
        root = Path(os.readlink(FLEET / name))  # /proc/PROCESS/root
    except OSError as error:
        known = ", ".join(sorted(path.name for path in FLEET.glob("*"))) or "none"
        what = f"there is no simulated host '{name}': {error.strerror} (there are: {known})"
        print(what, file=sys.stderr)
        sys.exit(_UNREACHED)
    namespaces.enter(int(root.parent.name))
    # `smartvif` is the one that made the hosts, installed or not.
    os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    os.execvp(command[0], command)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    try:
        main()
    except SmartvifError as failure:
        sys.exit(failure.explained())
