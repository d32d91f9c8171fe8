"""What a simulated host was at when a command on it did not end."""

from __future__ import annotations

from pathlib import Path

from smartvif.sim.host import FORWARDER, GUESTS, LIBVIRT

_LINES = 15  # of each log
_PROC = Path("/proc")


def evidence() -> str:
    """The threads of all processes with what they wait for in the kernel, and the ends of logs.

    A fleet's hosts share their processes, so this has all its hosts.
    """
    processes = [each for each in _PROC.iterdir() if each.name.isdigit()]
    roots = {namespace: process for process in processes if (namespace := _mounts(process))}
    found = [line for process in sorted(processes) for line in _threads(process)]
    for process in roots.values():
        for directory in (FORWARDER, LIBVIRT, GUESTS):
            for log in sorted((process / "root" / directory.relative_to("/")).rglob("*.log")):
                found += [f"== {log}", *_tail(log)]
    return "\n".join(found)


def _mounts(process: Path) -> str:
    try:
        return str((process / "ns/mnt").readlink())
    except OSError:
        return ""  # it has ended


def _threads(process: Path) -> list[str]:
    found = []
    try:
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for thread in sorted((process / "task").iterdir()):
            name, wait = ((thread / part).read_text().strip() for part in ("comm", "wchan"))
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            found.append(f"{process.name}/{thread.name} {state} {name} {wait} {command[:80]}")
    except OSError:
        pass  # it has ended
    return found


def _tail(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()[-_LINES:]
    except OSError as error:
        return [str(error)]
