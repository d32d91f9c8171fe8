"""A simulated SmartNIC: its layout and its network interfaces.

The inside of the card is a network namespace. A VF and its representor are each one end of a veth
pair whose other end is in there, and a filter of tc-u32(8) at each inner end sends what comes in to
the other one. So what goes into the VF comes out of its representor and back, as on a card in
switchdev mode that has no flow for it; the flows are put ahead of these filters by ``nic.eswitch``.
The uplink is a veth pair too; its far end is the wire. A PF in legacy mode has no representors: in
its place there is a bridge inside, with the inner ends of the uplink, the wire and all VFs, because
such a card switches by MAC address. The sysfs tree that names the outer ends is written by
``nic.sysfs``.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

from smartvif.model.errors import Failed, Invalid
from smartvif.model.pci import PciAddress
from smartvif.sim.nic import rtnetlink
from smartvif.sim.nic.rtnetlink import Rtnetlink
from smartvif.sim.process import netns

T = TypeVar("T")

MTU = 1500
NETNS = "nic"
# The inner ends pass whatever the outer ones do.
_LARGEST_MTU = 65535
_MISS = 0xFFFF  # the last priority that there is
_WHERE = "simulated SmartNIC"
# A PF has at most 8 functions in its slot, a bus has 256 for its VFs.
MOST_PFS, MOST_VFS = 8, 256
_PF_BUS, _FIRST_VF_BUS = 0x03, 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class NicLayout:
    """How many PFs a card has, how many VFs each of them; the last ``legacy`` are in legacy mode.

    Raises: Invalid, unless 1 to 8 PFs and 0 to 256 VFs.
    """

    pfs: int
    vfs: int
    legacy: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.pfs <= MOST_PFS and 0 <= self.vfs <= MOST_VFS):
            raise Invalid(
                f"a simulated SmartNIC cannot have {self.pfs} PFs with {self.vfs} VFs each",
                hint=f"1 to {MOST_PFS} PFs and 0 to {MOST_VFS} VFs each",
            )
        if not 0 <= self.legacy <= self.pfs:
            raise Invalid(
                f"{self.legacy} of {self.pfs} PFs cannot be in legacy mode",
                hint=f"0 to {self.pfs} can",
            )

    @classmethod
    def parse(cls, text: str) -> NicLayout:
        """Read ``4x256``: four PFs with 256 VFs each; or ``4x256,legacy=1``: one in legacy mode.

        Raises: Invalid.
        """
        match = re.fullmatch(r"([0-9]{1,3})x([0-9]{1,3})(?:,legacy=([0-9]))?", text)
        if match is None:
            raise Invalid(
                f"'{text}' is not a card",
                hint="write PFs x VFs of each, like 2x8, or 2x8,legacy=1 with one in legacy mode",
            )
        return cls(pfs=int(match[1]), vfs=int(match[2]), legacy=int(match[3] or 0))

    def is_legacy(self, pf: int) -> bool:
        """Whether a PF is in legacy mode."""
        return pf >= self.pfs - self.legacy

    def functions(self) -> Iterator[tuple[int, int]]:
        """The PF number and the VF number of every VF."""
        return ((pf, vf) for pf in range(self.pfs) for vf in range(self.vfs))


def pf_address(pf: int) -> PciAddress:
    """The PCI address of a PF: function ``pf`` of the card."""
    return PciAddress(0, _PF_BUS, 0, pf)


def vf_address(pf: int, vf: int) -> PciAddress:
    """The PCI address of a VF: each PF has a bus for them, counted through slots and functions.

    That is the alternative routing of PCI Express (ARI), without which a bus ends at 8 functions.
    """
    return PciAddress(0, _FIRST_VF_BUS + pf, vf >> 3, vf & 7)


def uplink(pf: int) -> str:
    """The interface of PF ``pf`` that faces the wire."""
    return f"p{pf}"


def wire(pf: int) -> str:
    """The far end of the uplink: what is sent there arrives from outside."""
    return f"p{pf}wire"


def vf_netdev(pf: int, vf: int) -> str:
    """The interface of a VF."""
    return f"p{pf}v{vf}"


def representor(pf: int, vf: int) -> str:
    """The switch's port to a VF."""
    return f"p{pf}r{vf}"


def mac(netdev: str) -> str:
    """The MAC address of one of the card's interfaces, the same at every start.

    It is locally administered (IEEE 802, bit 1 of the first byte) and says what it belongs to.
    """
    match = re.fullmatch(r"p(?P<pf>[0-9])(?:(?P<kind>v|r|wire)(?P<number>[0-9]*))?", netdev)
    if match is None:
        raise Invalid(f"'{netdev}' is not an interface of a simulated SmartNIC")
    kind = {None: 0, "wire": 1, "v": 2, "r": 3}[match["kind"]]
    return f"02:53:56:{kind:02x}:{int(match['pf']):02x}:{int(match['number'] or 0):02x}"


def create(layout: NicLayout) -> None:
    """Make the card's interfaces, all down, in the present network namespace, and its inside.

    IPv6 is put off in both namespaces first: every interface would announce itself on the switch.
    The inside is named in /run/netns, as ip-netns(8) does. An inner end has the name of the outer
    one.

    Raises: Failed, in the kernel's words, or if one of the names is taken. What is made by then
    goes with the namespaces.
    """
    legacy = [pf for pf in range(layout.pfs) if layout.is_legacy(pf)]
    pairs = [(uplink(pf), wire(pf)) for pf in range(layout.pfs) if pf not in legacy]
    ports = [
        (vf_netdev(*key), representor(*key)) for key in layout.functions() if key[0] not in legacy
    ]
    bridges = {f"veb{pf}": _bridged(pf, layout.vfs) for pf in legacy}
    taken = _present().keys() & set(chain(*pairs, *ports, *bridges.values()))
    if taken:
        raise Failed(
            f"{min(taken)} is there already",
            where=_WHERE,
            hint="make it in a fresh network namespace",
        )
    netns.put_off_ipv6()
    _make_inside()
    _do({one: rtnetlink.veth(_outer(one), _outer(other)) for one, other in pairs})
    with open("/proc/self/ns/net", "rb") as here:
        netns.inside(NETNS, partial(_make_ports, ports, here.fileno()))
        netns.inside(NETNS, partial(_make_bridges, bridges, here.fileno()))


def _make_inside() -> None:
    try:
        netns.make(NETNS)
    except OSError as error:
        raise Failed(
            f"network namespace '{NETNS}' cannot be made: {error.strerror}", where=_WHERE
        ) from error


def _make_ports(ports: list[tuple[str, str]], outside: int) -> None:
    """From the inside, make the interfaces and join the two of each pair."""
    both = ports + [(other, one) for one, other in ports]
    links = {}
    for name, _ in both:
        # The end that a pair is asked for by can be up from the start, the other one cannot.
        inner = rtnetlink.end(name, mtu=_LARGEST_MTU, up=True)
        links[name] = rtnetlink.veth(inner, _outer(name, netns=outside))
    _do(links)
    index = _present()
    _do({name: rtnetlink.ingress(index[name]) for name, _ in both})
    anything = [(0, 0, 0)]
    misses = {
        one: rtnetlink.redirect(
            index[one],
            index[other],
            anything,
            priority=_MISS,
            protocol=rtnetlink.ETH_P_ALL,
        )
        for one, other in both
    }
    _do(misses)


def _bridged(pf: int, vfs: int) -> list[str]:
    """What the switch of a PF in legacy mode joins."""
    return [uplink(pf), wire(pf), *(vf_netdev(pf, vf) for vf in range(vfs))]


def _make_bridges(bridges: dict[str, list[str]], outside: int) -> None:
    """From the inside, make bridges, and the interfaces whose inner ends are their ports."""
    bare = {name: rtnetlink.end(name, mtu=_LARGEST_MTU, up=True) for name in bridges}
    _do({name: rtnetlink.bridge(end) for name, end in bare.items()})
    index = _present()
    links = {}
    for bridge, names in bridges.items():
        for name in names:
            inner = rtnetlink.end(name, mtu=_LARGEST_MTU, bridge=index[bridge], up=True)
            links[name] = rtnetlink.veth(inner, _outer(name, netns=outside))
    _do(links)


def _do(requests: dict[str, bytes]) -> None:
    """Have all of them done, each for the interface that it is called by."""
    with closing(Rtnetlink()) as kernel:
        codes = kernel.tell(list(requests.values()))
    for name, code in zip(requests, codes, strict=True):
        if code:
            raise Failed(f"{name} cannot be made: {os.strerror(code)}", where=_WHERE)


def _outer(name: str, netns: int | None = None) -> bytes:
    return rtnetlink.end(name, mtu=MTU, mac=mac(name), netns=netns)


def _present() -> dict[str, int]:
    """The ifindex of every interface."""
    return {name: index for index, name in socket.if_nameindex()}
