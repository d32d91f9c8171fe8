"""What is left on a host, or in a private world, after something was done there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import smartvif as package
from smartvif.context.host import HostContext
from smartvif.demo import demo
from smartvif.sim.guest import image
from smartvif.sim.process import namespaces
from tests.support.vrouter import look

_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096  # include/uapi/linux/mount.h
_LOCKED = 0b1110  # nosuid, nodev, noexec: an ordinary user may not clear them (mount(2))


def in_private_world(body: Callable[[], None]) -> None:
    """Run ``body`` where nobody else has processes, netdevs or files, so that any trace is ours.

    /tmp, /var/tmp and /run are empty, and nothing else can be written.
    """
    cache = image.ensure().kernel.parent
    needed = {Path(sys.prefix), Path(package.__file__).parents[2], cache}

    def inside() -> int:
        namespaces.mount("tmpfs", "/run", kind="tmpfs")
        for directory in (Path("/tmp"), Path("/var/tmp")):  # noqa: S108
            empty(directory, {path for path in needed if path.is_relative_to(directory)})
        flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | (os.statvfs("/").f_flag & _LOCKED)
        namespaces.mount("none", "/", flags=flags)
        body()
        return 0

    assert namespaces.run(inside) == 0, "see the captured stderr"


def empty(directory: Path, keep: set[Path]) -> None:
    """Give us an empty directory there, in which only what we run from is to be seen."""
    # What holds others comes before them.
    aside = {path: Path("/run") / f"keep{number}" for number, path in enumerate(sorted(keep))}
    for path, place in aside.items():
        place.mkdir()
        namespaces.bind(path, place)
    namespaces.mount("tmpfs", str(directory), kind="tmpfs")
    for path, place in aside.items():
        path.mkdir(parents=True, exist_ok=True)
        namespaces.bind(place, path)


def traces() -> dict[str, set[str]]:
    """Everything that a command may leave in a private world."""
    links = subprocess.run(["ip", "-br", "link"], check=True, capture_output=True, text=True)
    listed = {
        str(path)
        for directory in ("/tmp", "/var/tmp", "/run")  # noqa: S108
        for path in Path(directory).glob("*")
    }
    return {
        "processes": {path.name for path in Path("/proc").glob("[0-9]*")},
        "links": set(links.stdout.splitlines()),
        "mounts": set(Path("/proc/self/mounts").read_text().splitlines()),
        "files": listed,
    }


def same_soon(before: dict[str, set[str]], seconds: float = 3.0) -> dict[str, set[str]]:
    """What differs after that time, or as soon as nothing does."""
    end = time.monotonic() + seconds
    while True:
        after = traces()
        differing = {kind: after[kind] ^ before[kind] for kind in before}
        left = {kind: found for kind, found in differing.items() if found}
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)


def everything(host: HostContext) -> set[str]:
    """All traces, and what the vRouter itself has, whatever its files say."""
    vifs = {f"vRouter: vif {vif['port']} with {vif['netdev']}" for vif in look("interfaces")}
    return demo.host_state(host) | vifs
