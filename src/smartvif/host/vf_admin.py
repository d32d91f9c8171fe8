"""What the host's side of a NIC says of one VF, whatever the VF's own driver is.

It is the PF's driver that keeps these (ip-link(8), "vf"): they hold while a guest or a forwarder
has the VF, and outlive it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NO_MAC = "00:00:00:00:00:00"
"""The address of a VF that was given none: its own driver chooses."""
DOT1Q = 0x8100  # ETH_P_8021Q, include/uapi/linux/if_ether.h
_UNKNOWN = 0xFFFFFFFF  # what a driver that says nothing leaves (rtnl_fill_vfinfo: -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VfAdmin:
    """A VF as its PF sets it.

    ``mac`` in lower case. ``vlan`` is the VLAN that the NIC puts the VF in without its knowledge, 0
    for none, with the priority ``qos`` (0 to 7) and the tag ``vlan_protocol`` (an EtherType).
    ``spoof_check`` drops what the VF sends by another address than its own; one that is ``trusted``
    may change its address and listen to others'. Read, None is what the driver does not say;
    wanted, what is to stay as it is.
    """

    mac: str
    vlan: int = 0
    qos: int = 0
    vlan_protocol: int = DOT1Q
    spoof_check: bool | None = None
    trusted: bool | None = None

    def changes(self, wanted: VfAdmin) -> Iterator[tuple[str, dict[str, Any]]]:
        """What makes this VF the one ``wanted``: a name for people, and pyroute2's setting."""
        if wanted.mac != self.mac:
            yield "MAC address", {"mac": wanted.mac}
        if (wanted.vlan, wanted.qos) != (self.vlan, self.qos):
            yield "VLAN", {"vlan": {"vlan": wanted.vlan, "qos": wanted.qos}}
        if wanted.spoof_check not in {None, self.spoof_check}:
            yield "spoof check", {"spoofchk": int(wanted.spoof_check or False)}
        if wanted.trusted not in {None, self.trusted}:
            yield "trust", {"trust": int(wanted.trusted or False)}

    def is_as(self, wanted: VfAdmin) -> bool:
        """Whether this VF is the one ``wanted``, as far as its driver says."""
        switches = ((self.spoof_check, wanted.spoof_check), (self.trusted, wanted.trusted))
        return (self.mac, self.vlan, self.qos) == (wanted.mac, wanted.vlan, wanted.qos) and all(
            None in pair or pair[0] is pair[1] for pair in switches
        )


def read(link: Any, number: int) -> VfAdmin | None:
    """The VF ``number`` of a PF, as pyroute2 gives its link; None if it has no such VF."""
    vfs = link.get_attr("IFLA_VFINFO_LIST") if link else None
    for info in vfs.get_attrs("IFLA_VF_INFO") if vfs else ():
        mac = info.get_attr("IFLA_VF_MAC")
        if mac["vf"] == number:
            return _vf(info, mac["mac"])
    return None


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


def _answer(attribute: Any, name: str) -> bool | None:
    """A switch of the VF; kernels that do not know it, and drivers that do not say, give None."""
    if attribute is None or attribute[name] == _UNKNOWN:
        return None
    return bool(attribute[name])
