"""The VF settings that a PF's driver keeps, independent of the VF's own driver, by rtnetlink(7).

They are those of ip-link(8), "vf": they apply while a guest or a forwarder has the VF, and stay
afterwards. The kernel reports all VFs of a PF at once, in IFLA_VFINFO_LIST, and
answers no question about a single one (net/core/rtnetlink.c, rtnl_fill_vf).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

NO_MAC = "00:00:00:00:00:00"
"""The address of a VF that was given none: its own driver chooses."""
DOT1Q = 0x8100  # ETH_P_8021Q, include/uapi/linux/if_ether.h
WITH_VFS = 1 | 8
"""The ``ext_mask`` that requests a link with its VFs.

RTEXT_FILTER_VF and RTEXT_FILTER_SKIP_STATS (include/uapi/linux/rtnetlink.h): with counters the VFs
of a large card do not fit into the 65535 bytes of an attribute, and the list comes broken.
"""
_UNKNOWN = 0xFFFFFFFF  # where a driver reports nothing (rtnl_fill_vfinfo: -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VfAdmin:
    """A VF as its PF sets it.

    ``mac`` in lower case; None, when wanted, leaves it to another program, such as libvirt.
    ``vlan`` is the VLAN that the NIC puts the VF in without its knowledge, 0 for none, with the
    priority ``qos`` (0 to 7) and the tag ``vlan_protocol`` (an EtherType). ``spoof_check`` drops
    what the VF sends by another address than its own; one that is ``trusted`` may change its
    address and receive others' frames. None is, when read, what the driver does not report, and
    when wanted, what is to stay as it is.
    """

    mac: str | None
    vlan: int = 0
    qos: int = 0
    vlan_protocol: int = DOT1Q
    spoof_check: bool | None = None
    trusted: bool | None = None

    def changes(self, wanted: VfAdmin) -> Iterator[tuple[str, dict[str, Any]]]:
        """The changes from this VF to ``wanted``: a name for people, and pyroute2's setting."""
        if wanted.mac not in {None, self.mac}:
            yield "MAC address", {"mac": wanted.mac}
        if (wanted.vlan, wanted.qos) != (self.vlan, self.qos):
            yield "VLAN", {"vlan": {"vlan": wanted.vlan, "qos": wanted.qos}}
        if wanted.spoof_check not in {None, self.spoof_check}:
            yield "spoof check", {"spoofchk": int(wanted.spoof_check or False)}
        if wanted.trusted not in {None, self.trusted}:
            yield "trust", {"trust": int(wanted.trusted or False)}

    def is_as(self, wanted: VfAdmin) -> bool:
        """Whether this VF is set as ``wanted``, as far as its driver reports.

        The address of a trusted VF is its guest's to choose (``chosen_by_guest``).
        """
        switches = ((self.spoof_check, wanted.spoof_check), (self.trusted, wanted.trusted))
        return (
            (wanted.mac in {None, self.mac} or self.chosen_by_guest(wanted))
            and (self.vlan, self.qos) == (wanted.vlan, wanted.qos)
            and all(None in pair or pair[0] is pair[1] for pair in switches)
        )

    def chosen_by_guest(self, wanted: VfAdmin) -> bool:
        """Whether this VF's address is its guest's choice: it is trusted, as is ``wanted``.

        ice and i40e write what a trusted VF asks for into the PF's record, and setting another
        address there resets the VF under its guest.
        """
        return bool(self.trusted and wanted.trusted) and self.mac != NO_MAC


@dataclass(frozen=True, slots=True, kw_only=True)
class VfReporting:
    """Which settings of its VFs a PF's driver reports.

    ``trust``: it reports whether a VF is trusted, as every driver does that can set it. ``rate``:
    it reports a rate limit of some VF. Otherwise that is unknown: the kernel reports 0 for a driver
    without rates, and so do drivers for "not limited".
    """

    trust: bool
    rate: bool


def read_reporting(netdev: str) -> VfReporting | None:
    """What the driver of a PF's interface reports; None where the kernel does not answer."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            links = tuple(route.link("get", ifname=netdev, ext_mask=WITH_VFS))
    except (NetlinkError, OSError):
        return None
    return reporting(links[0]) if links else None


def reporting(link: Any) -> VfReporting:
    """What is reported of the VFs of a PF, as pyroute2 gives its link."""
    vfs = _vfs(link)
    return VfReporting(
        trust=any(_answer(vf.get_attr("IFLA_VF_TRUST"), "trust") is not None for vf in vfs),
        rate=any(_is_limited(vf.get_attr("IFLA_VF_RATE")) for vf in vfs),
    )


def admin(link: Any, number: int) -> VfAdmin | None:
    """The VF ``number`` of a PF, as pyroute2 gives its link; None if it has no such VF."""
    for info in _vfs(link):
        mac = info.get_attr("IFLA_VF_MAC")
        if mac["vf"] == number:
            return _vf(info, mac["mac"])
    return None


def _vfs(link: Any) -> Sequence[Any]:
    """The VFs in a link; a driver without such settings leaves the list out."""
    listed = link.get_attr("IFLA_VFINFO_LIST") if link else None
    return listed.get_attrs("IFLA_VF_INFO") if listed else ()


def _vf(info: Any, mac: str) -> VfAdmin:
    vlan = info.get_attr("IFLA_VF_VLAN")
    vlans = info.get_attr("IFLA_VF_VLAN_LIST")
    tag = vlans.get_attr("IFLA_VF_VLAN_INFO") if vlans else None
    return VfAdmin(
        mac=mac,
        vlan=vlan["vlan"],
        qos=vlan["qos"],
        vlan_protocol=tag["proto"] if tag else DOT1Q,
        spoof_check=_answer(info.get_attr("IFLA_VF_SPOOFCHK"), "spoofchk"),
        trusted=_answer(info.get_attr("IFLA_VF_TRUST"), "trust"),
    )


def _is_limited(rate: Any) -> bool:
    return rate is not None and bool(rate["min_tx_rate"] or rate["max_tx_rate"])


def _answer(attribute: Any, name: str) -> bool | None:
    """A switch of the VF; kernels that do not know it, and drivers that do not say, give None."""
    if attribute is None or attribute[name] == _UNKNOWN:
        return None
    return bool(attribute[name])
