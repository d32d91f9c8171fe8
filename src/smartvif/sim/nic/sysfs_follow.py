"""The process that updates a simulated host's /sys by its network interfaces.

It is forked from the process that makes the host, stays in the host's namespaces, and ends with it.
A change is shown as soon as the process is scheduled, some tenths of a millisecond after the call;
``settled`` waits for that.
"""

from __future__ import annotations

import os
import select
import socket
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from smartvif.model.errors import Failed, TimedOut
from smartvif.sim.nic import link_events, nic, sysfs
from smartvif.sim.nic.link_events import LinkEvents
from smartvif.sim.nic.sysfs_netdevs import NetdevTree
from smartvif.sim.process import namespaces
from smartvif.sim.process.daemons import tail

_SOCKET, _LOG = "sysfs.sock", "sysfs.log"
_DEADLINE = 60.0  # seconds; the largest card takes one of them


def start(layout: nic.NicLayout, directory: Path) -> None:
    """Have the tree written at ``sys`` below ``directory``, and kept, by a child of this process.

    The card has just been made. The tree is there when ``settled`` returns.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / _SOCKET))
        listener.listen(64)
        parent = os.getpid()
        if os.fork() == 0:
            _become(layout, directory, listener, parent)


def settled(directory: Path) -> int:
    """Wait until every change of a link that has returned before is in the tree.

    Returns the number of the process that keeps it.
    Raises: Failed, where the process has ended; TimedOut.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_DEADLINE)
        try:
            client.connect(str(directory / _SOCKET))
            answer = client.recv(16)
        except TimeoutError as error:
            raise TimedOut(f"/sys is not up to date after {_DEADLINE:g} s", where="sim") from error
        except OSError:
            answer = b""
    if not answer:
        raise Failed(f"what keeps /sys has ended: {tail(directory / _LOG)}", where="sim")
    return int(answer)


def _become(
    layout: nic.NicLayout, directory: Path, listener: socket.socket, parent: int
) -> NoReturn:
    try:
        namespaces.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)  # it was quicker
        os.setpgid(0, 0)  # Ctrl-C is not for it
        _redirect(directory / _LOG)
        _follow(layout, directory / "sys", listener)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _redirect(log: Path) -> None:
    """Close the input and output that belong to the host's users."""
    null = os.open("/dev/null", os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (file, 1), (file, 2)):
        os.dup2(source, target)


def _follow(layout: nic.NicLayout, root: Path, listener: socket.socket) -> None:
    events = LinkEvents()  # ahead of the first look, so that nothing is missed in between
    tree = NetdevTree(root)
    sysfs.write_functions(layout, root)
    tree.start(layout, link_events.links())
    poll = select.poll()
    poll.register(events, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while True:
        asked = any(handle == listener.fileno() for handle, _ in poll.poll())
        waiting = listener.accept()[0] if asked else None
        _take(events, tree)
        if waiting is not None:
            with waiting, suppress(OSError):  # the asking process may have ended
                waiting.send(f"{os.getpid()}\n".encode())


def _take(events: LinkEvents, tree: NetdevTree) -> None:
    found = events.read()
    if found is None:
        tree.replace(link_events.links())
        return
    for present, link in found:
        if present:
            tree.update(link)
        else:
            tree.remove(link)
