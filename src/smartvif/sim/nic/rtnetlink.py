"""The few requests to rtnetlink(7) that a simulated card is made of, and a socket for them.

pyroute2 takes half a millisecond to put one of them into bytes: for a card of a thousand VFs, which
needs six thousand, that is seconds. Layouts are those of include/uapi/linux: rtnetlink.h,
if_link.h, pkt_cls.h, and tc_act/tc_mirred.h.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ETH_P_ALL, ETH_P_IP = 3, 0x0800  # if_ether.h

NEWLINK, DELLINK = 16, 17
_GETLINK, _NEWQDISC, _NEWTFILTER, _DELTFILTER, _GETTFILTER = 18, 36, 44, 45, 46
_REQUEST, _ACK, _ECHO, _DUMP, _EXCL, _CREATE = 0x1, 0x4, 0x8, 0x300, 0x200, 0x400
ERROR, DONE = 2, 3
DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR, netlink.h
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_TC = struct.Struct("=BxxxiIII")  # struct tcmsg
_UP = 1  # IFF_UP, if.h
_TYPE = 0x3FFF  # NLA_TYPE_MASK, netlink.h
_INGRESS, _INGRESS_PARENT = 0xFFFF0000, 0xFFFFFFF1  # the qdisc's handle; TC_H_INGRESS
_NODE = 0xFFF  # TC_U32_NODE; the rest of a handle is the kernel's
_TERMINAL, _STOLEN, _EGRESS_REDIRECT = 1, 4, 1
_AT_ONCE = 64  # requests whose answers fit into a socket's buffer


class Rtnetlink:
    """A socket to the kernel; it stays in the network namespace that it was made in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def tell(self, requests: Sequence[bytes]) -> list[int]:
        """Have requests done, as many as can be; the error number of each, 0 where it is done."""
        codes = []
        for begin in range(0, len(requests), _AT_ONCE):
            some = requests[begin : begin + _AT_ONCE]
            self._socket.send(b"".join(some))
            while some:
                ends = [code for code, _ in self._answers() if code is not None]
                codes += ends
                some = some[len(ends) :]
        return codes

    def ask(self, request: bytes) -> list[bytes]:
        """What the kernel answers, without its headers.

        Raises: OSError.
        """
        self._socket.send(request)
        found: list[bytes] = []
        while True:
            for code, body in self._answers():
                if code:
                    raise OSError(code, os.strerror(code))
                if code == 0:
                    return found
                found.append(body)

    def _answers(self) -> Iterator[tuple[int | None, bytes]]:
        """The messages of one datagram: each is an end with an error number, or has a body."""
        for kind, _, body in messages(self._socket.recv(1 << 16)):
            ends = kind in {ERROR, DONE}
            yield (-struct.unpack_from("=i", body)[0] if ends else None), body


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """A link as a message of the kernel has it.

    ``peer`` is the link that it is made on, for a veth its other end: the number of that one's
    network namespace, None where it is the same one, and its ifindex there (IFLA_LINK_NETNSID,
    IFLA_LINK). Neither a rename nor a move of this link changes it.
    """

    index: int
    name: str
    peer: tuple[int | None, int] | None


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The kind, the flags and the body of each message of a datagram."""
    while data:
        length, kind, flags, *_ = _HEADER.unpack_from(data)
        yield kind, flags, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def get_links() -> bytes:
    """Ask for all links, without their counters."""
    mask = _attribute(29, struct.pack("=I", 8))  # IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
    return _request(_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + mask, _DUMP)


def link(body: bytes) -> LinkState | None:
    """The link of a message about one; None where it is about a bridge's port (AF_BRIDGE)."""
    family, _, index, *_ = _LINK.unpack_from(body)
    if family != socket.AF_UNSPEC:
        return None
    found = _attributes(body[_LINK.size :])
    return LinkState(
        index=index,
        name=found[3].rstrip(b"\0").decode(),
        peer=(_int(found.get(37)), _int(found[5]) or 0) if 5 in found else None,
    )


def veth(near: bytes, far: bytes) -> bytes:
    """Make a pair out of two ends."""
    kind = _attribute(1, b"veth\0")  # IFLA_INFO_KIND
    data = _attribute(2, _attribute(1, far))  # IFLA_INFO_DATA, VETH_INFO_PEER
    return _request(NEWLINK, near + _attribute(18, kind + data), _CREATE | _EXCL)


def bridge(end: bytes) -> bytes:
    """Make a switch that learns MAC addresses."""
    return _request(NEWLINK, end + _attribute(18, _attribute(1, b"bridge\0")), _CREATE | _EXCL)


def end(
    name: str,
    *,
    mtu: int,
    mac: str = "",
    netns: int | None = None,
    bridge: int | None = None,
    up: bool = False,
) -> bytes:
    """One end of a pair. ``netns`` is an open file; without it the end is where the socket is.

    ``bridge`` is the ifindex of the one that it is a port of.
    """
    found = _LINK.pack(0, 0, 0, _UP if up else 0, _UP if up else 0)
    found += _attribute(3, name.encode() + b"\0") + _attribute(4, struct.pack("=I", mtu))
    if mac:
        found += _attribute(1, bytes.fromhex(mac.replace(":", "")))
    if netns is not None:
        found += _attribute(28, struct.pack("=I", netns))
    if bridge is not None:
        found += _attribute(10, struct.pack("=I", bridge))  # IFLA_MASTER
    return found


def ingress(index: int) -> bytes:
    """Let filters look at what comes in by the link with that ifindex."""
    message = _TC.pack(0, index, _INGRESS, _INGRESS_PARENT, 0) + _attribute(1, b"ingress\0")
    return _request(_NEWQDISC, message, _CREATE | _EXCL)


def redirect(
    index: int,
    target: int,
    keys: Sequence[tuple[int, int, int]],
    *,
    priority: int,
    protocol: int,
    number: int = 0,
) -> bytes:
    """Send out of link ``target`` what comes in by link ``index`` and has the keys.

    A key is an offset into the packet and the value and the mask of the four bytes that are there.
    Of a filter with a number, 1 to 4095, the kernel answers what it has made.
    """
    selector = struct.pack("=BBBxHHhhI", _TERMINAL, 0, len(keys), 0, 0, 0, 0, 0)
    for offset, value, mask in keys:
        selector += struct.pack(">II", mask, value) + struct.pack("=ii", offset, 0)
    mirred = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, target)
    action = _attribute(1, b"mirred\0") + _attribute(2, _attribute(2, mirred))
    options = _attribute(5, selector) + _attribute(7, _attribute(1, action))
    message = _filter(index, number, priority, protocol)
    message += _attribute(1, b"u32\0") + _attribute(2, options)
    return _request(_NEWTFILTER, message, _CREATE | _EXCL | (_ECHO if number else 0))


def delete_filter(index: int, handle: int, *, priority: int, protocol: int) -> bytes:
    """A request to remove one filter of a link."""
    message = _filter(index, handle, priority, protocol)
    return _request(_DELTFILTER, message + _attribute(1, b"u32\0"))


def delete_filters(index: int, *, priority: int, protocol: int) -> bytes:
    """A request to remove all filters of a link that have that priority."""
    return _request(_DELTFILTER, _filter(index, 0, priority, protocol))


def get_filter(index: int, handle: int, *, priority: int, protocol: int) -> bytes:
    """Ask for one filter of a link."""
    message = _filter(index, handle, priority, protocol)
    return _request(_GETTFILTER, message + _attribute(1, b"u32\0"))


def get_filters(index: int, *, priority: int, protocol: int) -> bytes:
    """Ask for all filters of a link that have that priority."""
    return _request(_GETTFILTER, _filter(index, 0, priority, protocol), _DUMP)


def filter_handle(answer: bytes) -> int:
    """What the kernel calls a filter."""
    handle: int = _TC.unpack_from(answer)[2]
    return handle


def filter_number(answer: bytes) -> int:
    """The number that a filter was made with; 0 for the tables that the kernel keeps them in."""
    return filter_handle(answer) & _NODE


def filter_counts(answer: bytes) -> tuple[int, int]:
    """How many packets and bytes a filter has redirected, without their Ethernet headers."""
    found = answer[_TC.size :]
    # TCA_OPTIONS, TCA_U32_ACT, the first, TCA_ACT_STATS, TCA_STATS_BASIC: struct gnet_stats_basic
    for kind in (2, 7, 1, 4, 1):
        found = _attributes(found)[kind]
    size, packets = struct.unpack_from("=QI", found)
    return packets, size


def _attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute; several of them joined are the value of one around them."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind & _TYPE] = data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def _int(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, sys.byteorder, signed=True)


def _filter(index: int, handle: int, priority: int, protocol: int) -> bytes:
    return _TC.pack(0, index, handle, _INGRESS, priority << 16 | socket.htons(protocol))


def _request(kind: int, message: bytes, flags: int = 0) -> bytes:
    header = _HEADER.pack(_HEADER.size + len(message), kind, _REQUEST | _ACK | flags, 0, 0)
    return header + message


def _aligned(length: int) -> int:
    return (length + 3) & ~3
