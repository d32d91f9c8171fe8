"""Starting the simulated host's daemons: each a child that ends with the first process inside."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from smartvif.model.errors import Failed, TimedOut
from smartvif.sim.process import namespaces

_LAST_LINES = 5


def spawn(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground, its output in ``log``, killed when we are.

    ``before`` runs in the child ahead of the program.
    Raises: Failed, where the program is not installed.
    """

    def prepare() -> None:
        if before is not None:
            before()
        namespaces.die_with_parent()

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                process_group=0,  # Ctrl-C is not for them
                preexec_fn=prepare,  # noqa: PLW1509  (no threads yet where this runs)
            )
        except FileNotFoundError as error:
            raise Failed(
                f"'{argv[0]}' is not installed", where="sim", hint="make setup installs it"
            ) from error


def wait_for(
    path: Path, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 60.0
) -> None:
    """Wait until ``process`` takes connections on the UNIX socket at ``path``.

    That the socket is there does not tell: it is bound first and listened on a little later.
    Raises: Failed with the log's last lines if it ends before, TimedOut.
    """
    end = time.monotonic() + seconds
    while not _listened_on(path):
        if process.poll() is not None:
            raise Failed(f"{_name(process)} ended at its start: {tail(log)}", where="sim")
        if time.monotonic() > end:
            raise TimedOut(f"{_name(process)} does not listen on {path}: {tail(log)}", where="sim")
        time.sleep(0.005)


def _listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def tail(log: Path) -> str:
    """The last lines of a log, as one line."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return " / ".join(lines[-_LAST_LINES:]) or "its log is empty"


def _name(process: subprocess.Popen[bytes]) -> str:
    argv = process.args
    return Path(str(argv[0] if isinstance(argv, list) else argv)).name
