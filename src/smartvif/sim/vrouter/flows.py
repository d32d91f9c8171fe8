"""The flows that the vRouter sees: what a packet belongs to, and a bounded table of them. Pure.

A flow goes one way, from one vif to one other. Here it is made by the first packet that the vRouter
passed on itself, and counts the ones that it passed on; what a card passes on, the card counts.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

FLOWS = 4096
"""How many flows a table holds."""

ICMP, TCP, UDP = 1, 6, 17  # IANA, "Protocol Numbers"
_ETHERNET, _IPV4 = 14, 20  # bytes of their headers, the latter without options
_ETH_P_IP = 0x0800  # include/uapi/linux/if_ether.h
_NO_OPTIONS = 0x45  # version 4, header of five words (RFC 791)
_FRAGMENT = 0x3FFF  # "more fragments", and the offset (RFC 791)
_FIRST_MULTICAST = 224  # the first byte of multicast addresses (RFC 1112, RFC 1122)
_SHORTEST = {ICMP: 8, TCP: 20, UDP: 8}  # bytes of the header that follows
_PORTS = struct.Struct("!HH")
_ICMP = struct.Struct("!BxxxH")
# Only these carry an identifier, and it stands where ports would (RFC 792).
_ECHO = frozenset({0, 8})


class FlowKey(NamedTuple):
    """What packets of one flow have in common. ``vif`` is the identifier of the one they came by.

    Of an ICMP echo ``sport`` is the identifier and ``dport`` the type: request or reply.
    """

    vif: str
    protocol: int
    src: str
    dst: str
    sport: int
    dport: int


@dataclass(slots=True, kw_only=True, eq=False)
class TrackedFlow:
    """A flow to the vif ``target``, for the Ethernet address ``mac``.

    ``packets`` and ``bytes`` are what the vRouter passed on itself. ``miss`` says why the card does
    not pass on the rest; it is None where it does.
    """

    number: int
    key: FlowKey
    target: str
    mac: bytes
    packets: int = 0
    bytes: int = 0
    miss: str | None = "not offered"


def parse(vif: str, frame: bytes | memoryview) -> FlowKey | None:
    """The flow of an Ethernet frame that came by ``vif``, or None for a frame of no flow.

    Flows are unicast IPv4 without options and fragments, of TCP, UDP and ICMP echo.
    """
    if len(frame) < _ETHERNET + _IPV4 or frame[0] & 1:
        return None
    if frame[12] << 8 | frame[13] != _ETH_P_IP or frame[14] != _NO_OPTIONS:
        return None
    length, fragment = frame[16] << 8 | frame[17], frame[20] << 8 | frame[21]
    protocol = frame[23]
    # A short frame is padded: what is beyond the packet's length is not the packet's.
    here = min(length, len(frame) - _ETHERNET) - _IPV4
    if fragment & _FRAGMENT or here < _SHORTEST.get(protocol, 1 << 16):
        return None
    if frame[30] >= _FIRST_MULTICAST:
        return None
    if protocol == ICMP:
        dport, sport = _ICMP.unpack_from(frame, _ETHERNET + _IPV4)
        if dport not in _ECHO:
            return None
    else:
        sport, dport = _PORTS.unpack_from(frame, _ETHERNET + _IPV4)
    src, dst = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
    return FlowKey(vif, protocol, src, dst, sport, dport)


@dataclass(slots=True, kw_only=True)
class FlowTable:
    """The latest flows. ``made`` and ``ended`` are called for each one that begins and ends."""

    made: Callable[[TrackedFlow], None]
    ended: Callable[[TrackedFlow], None]
    capacity: int = FLOWS
    _flows: dict[FlowKey, TrackedFlow] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __iter__(self) -> Iterator[TrackedFlow]:
        """All flows, the oldest first."""
        return iter(tuple(self._flows.values()))

    def __len__(self) -> int:
        return len(self._flows)

    def count(self, key: FlowKey, target: str, mac: bytes, size: int) -> None:
        """Count a frame of ``size`` bytes that was passed on to ``target``.

        A flow with another target ends and is replaced. The oldest is evicted if need be.
        """
        flow = self._flows.get(key)
        if flow is not None and (flow.target, flow.mac) != (target, mac):
            self._end(flow)
            flow = None
        if flow is None:
            if len(self._flows) >= self.capacity:
                self._end(next(iter(self._flows.values())))
            flow = TrackedFlow(number=next(self._numbers), key=key, target=target, mac=mac)
            self._flows[key] = flow
            self.made(flow)
        flow.packets += 1
        flow.bytes += size

    def end_vif(self, vif: str) -> None:
        """End the flows that come from a vif, and those that go to it."""
        for flow in self:
            if vif in (flow.key.vif, flow.target):
                self._end(flow)

    def end_address(self, mac: bytes, vifs: frozenset[str]) -> None:
        """End the flows from ``vifs`` that are for an address: it is elsewhere now."""
        for flow in self:
            if flow.mac == mac and flow.key.vif in vifs:
                self._end(flow)

    def _end(self, flow: TrackedFlow) -> None:
        del self._flows[flow.key]
        self.ended(flow)
