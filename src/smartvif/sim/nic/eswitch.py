"""The eswitch of the simulated SmartNIC: flows that its (simulated) hardware carries by itself.

A flow is a filter of tc-u32(8) on a VF's inner end, ahead of the one that sends all the rest to the
representor. A packet that hits it comes out of the target's VF, and neither representor sees it.
The kernel keeps the flows in the card's own network namespace. So they outlive the process that
made them, as those of a card do.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from smartvif.model.errors import Failed, Invalid, NotFound
from smartvif.sim.nic import nic, rtnetlink
from smartvif.sim.nic.rtnetlink import Rtnetlink
from smartvif.sim.process import netns

NETNS = nic.NETNS
NUMBERS = range(1, 4096)  # TC_U32_NODE, include/uapi/linux/pkt_cls.h
CAPACITY = 1024

_PRIORITY = {"priority": 1, "protocol": rtnetlink.ETH_P_IP}
_ICMP, _TCP, _UDP = socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP
_ECHOES = frozenset({0, 8})  # the answer and the question (RFC 792)
_PORTS = range(1 << 16)
_ETHERNET = 14  # bytes of its header, which tc does not count
_GONE = frozenset({errno.ENOENT, errno.EINVAL, errno.ENODEV})
_WHERE = "simulated eswitch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One direction of one conversation from one VF: ICMP echoes (1), TCP (6), or UDP (17).

    ``source`` is the representor of the VF that the packets come from, ``src`` and ``dst`` are IPv4
    addresses. With ICMP ``sport`` is the identifier and ``dport`` the type.
    """

    source: str
    protocol: int
    src: str
    dst: str
    sport: int
    dport: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a flow has carried. ``bytes`` are those of whole frames, without the checksum."""

    packets: int
    bytes: int


class Eswitch:
    """The flows of the simulated card, with those that another process has left.

    It is for one thread, and for one process at a time. ``capacity`` is how many flows there is
    room for. While ``fail`` is set, the simulated hardware refuses each flow with these words.
    Raises: NotFound, where there is no simulated card.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.fail: str | None = None
        try:
            self._kernel, ends = netns.inside(NETNS, lambda: (Rtnetlink(), socket.if_nameindex()))
        except FileNotFoundError as error:
            raise NotFound(
                "there is no simulated SmartNIC", where=_WHERE, hint="try it in: smartvif sim run"
            ) from error
        index = {name: number for number, name in ends}
        largest = nic.NicLayout(pfs=nic.MOST_PFS, vfs=nic.MOST_VFS)
        # Each representor with the inner end of its VF.
        self._vfs = {
            nic.representor(*key): index[nic.vf_netdev(*key)]
            for key in largest.functions()
            if nic.representor(*key) in index and nic.vf_netdev(*key) in index
        }
        # Each flow with the inner end that it is on, and what the kernel calls it.
        self._flows = {
            rtnetlink.filter_number(answer): (vf, rtnetlink.filter_handle(answer))
            for vf in self._vfs.values()
            for answer in self._kernel.ask(rtnetlink.get_filters(vf, **_PRIORITY))
            if rtnetlink.filter_number(answer)
        }

    def representors(self) -> frozenset[str]:
        """The representors of the card, each of which has a VF."""
        return frozenset(self._vfs)

    def add(self, number: int, match: Match, target: str) -> None:
        """Have packets of a conversation come out of the VF of the representor ``target``.

        The flow is known by ``number``, 1 to 4095. IP fragments, packets with IP options and those
        in a VLAN never hit.
        Raises: Invalid, Failed, if the card is full or in the kernel's words.
        """
        source, to = self._vf(match.source), self._vf(target)
        keys = _keys(match)
        if number not in NUMBERS:
            raise Invalid(
                f"{number} is not the number of a flow",
                where=_WHERE,
                hint=f"it goes from {NUMBERS[0]} to {NUMBERS[-1]}",
            )
        if self.fail is not None:
            raise Failed(self.fail, where=_WHERE)
        if number in self._flows:
            raise Failed(f"flow {number} is there already", where=_WHERE)
        if len(self._flows) >= self.capacity:
            raise Failed(f"it is full: it has {len(self._flows)} flows", where=_WHERE)
        request = rtnetlink.redirect(source, to, keys, number=number, **_PRIORITY)
        try:
            (made,) = self._kernel.ask(request)
        except OSError as error:
            raise Failed(f"adding flow {number}: {error.strerror}", where=_WHERE) from error
        self._flows[number] = (source, rtnetlink.filter_handle(made))

    def delete(self, number: int) -> None:
        """Take a flow away; one that is not there is gone already.

        Raises: Failed.
        """
        if number in self._flows:
            request = rtnetlink.delete_filter(*self._flows[number], **_PRIORITY)
            self._clear(f"deleting flow {number}", [request])
            del self._flows[number]

    def counts(self, number: int) -> Counts:
        """What a flow has carried since it was added.

        Raises: NotFound, Failed.
        """
        absent = NotFound(f"there is no flow {number}", where=_WHERE)
        if number not in self._flows:
            raise absent
        try:
            request = rtnetlink.get_filter(*self._flows[number], **_PRIORITY)
            (answer,) = self._kernel.ask(request)
        except OSError as error:
            if error.errno in _GONE:
                raise absent from error
            raise Failed(f"reading flow {number}: {error.strerror}", where=_WHERE) from error
        packets, size = rtnetlink.filter_counts(answer)
        return Counts(packets=packets, bytes=size + packets * _ETHERNET)

    def flush(self) -> None:
        """Take all flows away, also those that another process has left.

        Raises: Failed.
        """
        requests = [rtnetlink.delete_filters(vf, **_PRIORITY) for vf in self._vfs.values()]
        self._clear("deleting all flows", requests)
        self._flows.clear()

    def close(self) -> None:
        """Close the socket; the flows stay."""
        self._kernel.close()

    def _vf(self, representor: str) -> int:
        if representor not in self._vfs:
            raise Invalid(f"'{representor}' is not a representor of the card", where=_WHERE)
        return self._vfs[representor]

    def _clear(self, doing: str, requests: Sequence[bytes]) -> None:
        for code in self._kernel.tell(requests):
            if code and code not in _GONE:
                raise Failed(f"{doing}: {os.strerror(code)}", where=_WHERE)


def _keys(match: Match) -> Sequence[tuple[int, int, int]]:
    """A match as offsets into an IPv4 packet, values and masks (RFC 791, 792, 768, 9293).

    Raises: Invalid.
    """
    if match.protocol not in {_ICMP, _TCP, _UDP}:
        raise Invalid(f"IP protocol {match.protocol} cannot be matched", where=_WHERE)
    if match.protocol == _ICMP and match.dport not in _ECHOES:
        raise Invalid(f"ICMP type {match.dport} cannot be matched", where=_WHERE)
    if match.sport not in _PORTS or match.dport not in _PORTS:
        raise Invalid(f"ports {match.sport} and {match.dport} cannot be matched", where=_WHERE)
    try:
        src, dst = (int(ipaddress.IPv4Address(address)) for address in (match.src, match.dst))
    except ValueError as error:
        raise Invalid(str(error), where=_WHERE) from error
    if match.protocol == _ICMP:
        # Type and code in one word, the identifier in the next.
        ports = [(20, match.dport << 24, 0xFFFF0000), (24, match.sport << 16, 0xFFFF0000)]
    else:
        ports = [(20, match.sport << 16 | match.dport, 0xFFFFFFFF)]
    return [
        (0, 0x45000000, 0xFF000000),  # IPv4, a header without options
        (4, 0, 0x00003FFF),  # neither more fragments nor an offset
        (8, match.protocol << 16, 0x00FF0000),
        (12, src, 0xFFFFFFFF),
        (16, dst, 0xFFFFFFFF),
        *ports,
    ]
