"""UNIX sockets as files: whether a process listens there, and the removal of stale ones."""

from __future__ import annotations

import errno
import logging
import os
import socket
from pathlib import Path

from smartvif.model.errors import Failed

_log = logging.getLogger(__name__)

_LISTENING = 0x10000  # __SO_ACCEPTCON, include/linux/net.h
_SOCKETS = Path("/proc/net/unix")  # net/unix/af_unix.c, unix_seq_show
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED}


def is_served(path: str) -> bool:
    """Whether a process listens at ``path``; also where that is unknown.

    The kernel's list is read first: a connection would disturb a server that takes one at a time.
    It has no sockets of other network namespaces, so that an unlisted one is connected to.
    """
    if _is_listed(path):
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            return probe.connect_ex(os.fsencode(path)) not in _ABSENT
        except (OSError, ValueError):  # too long, or with a NUL: there is no such socket
            return False


def remove_socket(path: str) -> None:
    """Remove what a process that ended may have left where its socket was.

    A socket at which a process listens stays: it would never be found again.
    Raises: Failed.
    """
    if is_served(path):
        return
    try:
        Path(path).unlink(missing_ok=True)
    except PermissionError:
        # A QEMU that ends removes its socket, and one that listens what is in its way
        # (util/qemu-sockets.c, unix_listen_saddr); the service may not.
        _log.warning("%s is not ours to remove: left as it is", path)
    except OSError as error:
        raise Failed(f"cannot remove {path}: {error}", where="kernel") from error


def _is_listed(path: str) -> bool:
    wanted = os.fsencode(path)
    for line in _SOCKETS.read_bytes().splitlines()[1:]:
        _, _, _, flags, _, _, _, *name = line.split(None, 7)
        if name == [wanted] and int(flags, 16) & _LISTENING:
            return True
    return False
