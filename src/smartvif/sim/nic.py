"""A simulated SmartNIC: its layout and its network interfaces.

A VF and its representor are the two ends of a veth pair, so that what goes into one comes out of
the other, as on a card in switchdev mode. The uplink is such a pair too; its far end is the wire.
No eswitch is between them: the sysfs tree that names these ends is written by ``sim.sysfs``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smartvif.model.errors import Failed, Invalid
from smartvif.model.pci import PciAddress

MTU = 1500
# A PF has at most 8 functions in its slot, a bus has 256 for its VFs.
_MOST_PFS, _MOST_VFS = 8, 256
_PF_BUS, _FIRST_VF_BUS = 0x03, 0x04
_IPV6 = Path("/proc/sys/net/ipv6/conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class NicLayout:
    """How many PFs a card has, and how many VFs each of them.

    Raises: Invalid, unless 1 to 8 PFs and 0 to 256 VFs.
    """

    pfs: int
    vfs: int

    def __post_init__(self) -> None:
        if not (1 <= self.pfs <= _MOST_PFS and 0 <= self.vfs <= _MOST_VFS):
            raise Invalid(
                f"a simulated SmartNIC cannot have {self.pfs} PFs with {self.vfs} VFs each",
                hint=f"1 to {_MOST_PFS} PFs and 0 to {_MOST_VFS} VFs each",
            )

    @classmethod
    def parse(cls, text: str) -> NicLayout:
        """Read ``4x256``: four PFs with 256 VFs each.

        Raises: Invalid.
        """
        match = re.fullmatch(r"([0-9]{1,3})x([0-9]{1,3})", text)
        if match is None:
            raise Invalid(f"'{text}' is not a card", hint="write PFs x VFs of each, like 2x8")
        return cls(pfs=int(match[1]), vfs=int(match[2]))

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
    """Make the card's interfaces, all down, in the present network namespace.

    IPv6 is put off in the namespace first: every interface would announce itself on the switch.

    Raises: Failed, in the kernel's words, or if one of the names is taken. What is made by then
    goes with the namespace.
    """
    pairs = [(uplink(pf), wire(pf)) for pf in range(layout.pfs)]
    pairs += [(vf_netdev(pf, vf), representor(pf, vf)) for pf, vf in layout.functions()]
    taken = _present().intersection(name for pair in pairs for name in pair)
    if taken:
        raise Failed(
            f"{min(taken)} is there already",
            where="simulated SmartNIC",
            hint="make it in a fresh network namespace",
        )
    for name in ("all", "default"):
        switch = _IPV6 / name / "disable_ipv6"
        if switch.exists():
            switch.write_text("1")
    _make(pairs)


def _make(pairs: list[tuple[str, str]]) -> None:
    """Send all pairs in one message, a quarter faster than one by one.

    The kernel's answers to it are left unread. What is missing after it is asked for again, alone
    and on a socket of its own, so that the refusal is heard.
    """
    from pyroute2 import IPBatch, IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPBatch() as batch, IPRoute() as kernel:
        for pair in pairs:
            batch.link("add", **_veth(*pair))
        kernel.sendto(batch.batch, (0, 0))
    present = _present()
    missing = [pair for pair in pairs if not present.issuperset(pair)]
    if not missing:
        return
    with IPRoute() as kernel:
        for pair in missing:
            try:
                kernel.link("add", **_veth(*pair))
            except NetlinkError as error:
                raise Failed(
                    f"{pair[0]} cannot be made: {error.args[1]}", where="simulated SmartNIC"
                ) from error


def _veth(name: str, peer: str) -> dict[str, object]:
    far = {"ifname": peer, "mtu": MTU, "address": mac(peer)}
    return {"ifname": name, "kind": "veth", "mtu": MTU, "address": mac(name), "peer": far}


def _present() -> set[str]:
    return {name for _, name in socket.if_nameindex()}
