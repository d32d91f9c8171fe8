"""The links of a network namespace, and what is done to them (RTNLGRP_LINK of rtnetlink(7))."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import closing

from smartvif.sim.nic import rtnetlink
from smartvif.sim.nic.rtnetlink import DELLINK, DONE, DUMP_INTERRUPTED, ERROR, NEWLINK, LinkState

_GROUP_LINK = 1  # RTMGRP_LINK, rtnetlink.h
_BUFFER = 1 << 20  # bytes; the kernel takes what net.core.rmem_max allows
_DATAGRAM = 1 << 16


class LinkEvents:
    """A subscription. The kernel queues an event before the call that makes the change returns."""

    def __init__(self) -> None:
        self._socket = _open()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, _GROUP_LINK))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """For poll(2)."""
        return self._socket.fileno()

    def read(self) -> list[tuple[bool, LinkState]] | None:
        """The events that are queued: whether the link is there, and what it is, or was.

        None where the kernel has dropped some. Those still queued are then older than what is
        there now, and are dropped too: all ``links`` are to be read.
        Raises: OSError.
        """
        found: list[tuple[bool, LinkState]] = []
        overrun = False
        while True:
            try:
                data = self._socket.recv(_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                overrun = True
            else:
                found += _events(data)
        return None if overrun else found


def links() -> list[LinkState]:
    """All links of the present network namespace.

    Raises: OSError.
    """
    while True:
        with closing(_open()) as kernel:
            kernel.send(rtnetlink.get_links())
            found = _dump(kernel)
        if found is not None:
            return found


def _dump(kernel: socket.socket) -> list[LinkState] | None:
    """The answers to a request for all links; None where the links changed meanwhile."""
    found: list[LinkState] = []
    while True:
        for kind, flags, body in rtnetlink.messages(kernel.recv(_DATAGRAM)):
            if flags & DUMP_INTERRUPTED:
                return None
            if kind in {ERROR, DONE}:
                return found
            link = rtnetlink.link(body)
            if link is not None:
                found.append(link)


def _events(data: bytes) -> Iterator[tuple[bool, LinkState]]:
    for kind, _, body in rtnetlink.messages(data):
        link = rtnetlink.link(body) if kind in {NEWLINK, DELLINK} else None
        if link is not None:
            yield kind == NEWLINK, link


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
