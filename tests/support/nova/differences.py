"""The deliberate differences from Nova 34, as predicates on a case and on both answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from smartvif.model.needs import Needs
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Network, Port, VifType, VnicType
from smartvif.model.vif import Vif, VifKind

PORT_ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
NETWORK_ID = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"
NOVA_DEFAULT_BRIDGE = "br-int"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A bound port. ``pci_slot`` None is a profile without one; ``profile`` False is no profile.

    ``network_bridge`` is False where nothing but Nova itself names a bridge.
    """

    vif_type: VifType
    vnic_type: VnicType
    details: dict[str, Any] = field(default_factory=dict)
    port_id: str = PORT_ID
    mac: str = "52:54:00:12:34:56"
    pci_slot: str | None = "0000:03:00.1"
    profile: bool = True
    network_bridge: bool = True
    physical_network: str | None = None
    vlan: int | None = None
    mtu: int | None = None
    fixed_ips: tuple[str, ...] = ()
    trusted: bool = False

    def port(self) -> Port:
        network = Network(
            id=NETWORK_ID,
            bridge=nova_bridge(self) if self.network_bridge else None,
            physical_network=self.physical_network,
            vlan=self.vlan,
            mtu=self.mtu,
        )
        return Port(
            id=self.port_id,
            mac=self.mac,
            network=network,
            vnic_type=self.vnic_type,
            vf=self.vf(),
            fixed_ips=self.fixed_ips,
            needs=Needs(trusted=self.trusted),
        )

    def vf(self) -> PciAddress | None:
        """The VF that the profile names, where the port's VIF is for one.

        Raises: Invalid.
        """
        if not (self.profile and self.pci_slot is not None and needs_vf(self)):
            return None
        return PciAddress.parse(self.pci_slot)

    def binding(self) -> Binding:
        return Binding(vif_type=self.vif_type, details=self.details)

    def subnets(self) -> dict[str, list[str]]:
        """The addresses of each subnet, in the order in which the port first names them."""
        found: dict[str, list[str]] = {}
        for text in self.fixed_ips:
            with suppress(ValueError):
                address = ipaddress.ip_address(text)
                length = 24 if address.version == 4 else 64
                subnet = ipaddress.ip_network(f"{address}/{length}", strict=False)
                found.setdefault(str(subnet), []).append(text)
        return found

    def with_details(self, **details: Any) -> Case:
        return replace(self, details=self.details | details)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where Nova is wrong (``applies``), how, and what is done instead.

    Nova either raises ``nova_raises`` with ``nova_says`` in it, or gives a VIF for which
    ``nova_gives`` holds. Ours raises Invalid with ``refused`` in it; or else ours is what Nova
    gives for the ``mended`` case, once ``corrected``.
    """

    id: str
    example: Case
    applies: Callable[[Case], bool]
    nova_raises: str | None = None
    nova_says: str | None = None
    nova_gives: Callable[[Vif, Case], bool] = lambda vif, case: True
    refused: str | None = None
    mended: Callable[[Case], Case] = lambda case: case
    corrected: Callable[[Vif, Case], Vif] = lambda vif, case: vif


OVS, AGILIO, VHOSTUSER = VifType.OVS, VifType.AGILIO_OVS, VifType.VHOSTUSER
VROUTER, HW_VEB = VifType.VROUTER, VifType.HW_VEB
UNBOUND = {VifType.UNBOUND, VifType.BINDING_FAILED}
ON_VROUTER = {VnicType.NORMAL, VnicType.DIRECT, VnicType.VIRTIO_FORWARDER}
IN_NIC = {VnicType.DIRECT, VnicType.MACVTAP, VnicType.VIRTIO_FORWARDER}
FOREIGN = {
    VnicType.MACVTAP,
    VnicType.DIRECT_PHYSICAL,
    VnicType.ACCELERATOR_DIRECT,
    VnicType.ACCELERATOR_DIRECT_PHYSICAL,
}
BARE_METAL = {VnicType.BAREMETAL, VnicType.SMART_NIC}
MODES = (None, "client", "server")
# Those of the right form are what Nova takes where it does not look closely.
FORMED_BAD_SLOTS = ("0000:03:20.1", "0000:03:00.8", "0000:03:00.1 ")
BAD_SLOTS = ("", "03:00.1", "eth0", *FORMED_BAD_SLOTS)
WIDE_SLOTS = ("10000:03:00.1", "10001:e1:02.7")
LONG_BRIDGE = "br-of-15-chars-"
BAD_VLANS = ("", "untagged", "4095", "-1")
BAD_IP = "10.0.0.300"

BAD_SOCKETS = ("vhu/guest.sock", "/run/" + "d" * 103)
SOCKET = {"vhostuser_socket": "/run/vhu/guest.sock"}
SWITCH_SOCKET = SOCKET | {"vhostuser_ovs_plug": True}


def needs_vf(case: Case) -> bool:
    """Whether Nova reads ``pci_slot`` for it."""
    passed_through = {VnicType.DIRECT, VnicType.VDPA, VnicType.REMOTE_MANAGED}
    return case.vnic_type in {
        OVS: passed_through,
        AGILIO: passed_through | {VnicType.VIRTIO_FORWARDER},
        VROUTER: ON_VROUTER - {VnicType.NORMAL},
        HW_VEB: set(VnicType),
    }.get(case.vif_type, set())


def unchecked_slot(case: Case) -> bool:
    """Whether Nova takes any text for the PCI address that it reads."""
    return case.vif_type is HW_VEB or is_forwarder(case, VROUTER)


def is_forwarder(case: Case, *vif_types: VifType) -> bool:
    return case.vif_type in vif_types and case.vnic_type is VnicType.VIRTIO_FORWARDER


def needs_socket(case: Case) -> bool:
    """Whether Nova reads ``vhostuser_socket`` for it."""
    return is_forwarder(case, AGILIO, VROUTER) or case.vif_type is VHOSTUSER


def needs_bridge(case: Case) -> bool:
    """Whether Nova names a bridge for it."""
    plugged = case.details.get("vhostuser_ovs_plug") or case.details.get("vhostuser_fp_plug")
    return case.vif_type in (OVS, AGILIO) or bool(case.vif_type is VHOSTUSER and plugged)


def nova_bridge(case: Case) -> str:
    """The bridge that Nova names where the details name none."""
    fast_path = case.vif_type is VHOSTUSER and case.details.get("vhostuser_fp_plug")
    if fast_path and not case.details.get("vhostuser_ovs_plug"):
        return f"brq{NETWORK_ID}"[:14]
    return NOVA_DEFAULT_BRIDGE


def interleaved(case: Case) -> bool:
    """Whether the port's addresses go back to a subnet that it has left."""
    grouped = [address for subnet in case.subnets().values() for address in subnet]
    return BAD_IP not in case.fixed_ips and grouped != list(case.fixed_ips)


def is_tap(vif: Vif, case: Case) -> bool:
    wanted = VifKind.BRIDGE if case.details.get("ovs_hybrid_plug") else VifKind.OPENVSWITCH
    return vif.kind is wanted and vif.plugin == "ovs" and vif.dev_address is None


def is_pair(vif_type: VifType, *vnic_types: VnicType) -> Callable[[Case], bool]:
    return lambda case: case.vif_type is vif_type and case.vnic_type in vnic_types


def by_agilio(vif: Vif, case: Case) -> Vif:
    return replace(vif, plugin="agilio_ovs")


def of_wide_domain(vif: Vif, case: Case) -> Vif:
    assert vif.dev_address in (None, PciAddress.parse("0000:03:00.1"))
    if vif.profile is not None:
        assert vif.profile.offload is not None
        offload = replace(vif.profile.offload, representor_address=case.vf())
        vif = replace(vif, profile=replace(vif.profile, offload=offload))
    return replace(vif, dev_address=vif.dev_address and case.vf())


def uses_slot(vif: Vif, case: Case) -> bool:
    if vif.kind is VifKind.VHOSTUSER:
        assert vif.profile is not None
        assert vif.profile.offload is not None
        return str(vif.profile.offload.representor_address) == case.pci_slot
    return str(vif.dev_address) == case.pci_slot


def on_long_bridge(vif: Vif, case: Case) -> Vif:
    named = replace(vif, network=replace(vif.network, bridge=LONG_BRIDGE))
    if vif.profile is not None and vif.profile.bridge_name == LONG_BRIDGE[:14]:
        named = replace(named, profile=replace(vif.profile, bridge_name=LONG_BRIDGE))
    return replace(named, bridge_name=LONG_BRIDGE) if vif.kind is VifKind.OPENVSWITCH else named


NORMAL = Case(vif_type=OVS, vnic_type=VnicType.NORMAL)
DIRECT = replace(NORMAL, vnic_type=VnicType.DIRECT)
FORWARDER = Case(vif_type=AGILIO, vnic_type=VnicType.VIRTIO_FORWARDER, details=SOCKET)
VEB = Case(vif_type=HW_VEB, vnic_type=VnicType.DIRECT, details={"vlan": "5"})
CANNOT_CARRY = "cannot carry VNIC type"

# Those at which Nova raises are in the order in which it does.
DIFFERENCES = (
    Difference(
        id="bad-ip",
        example=replace(NORMAL, fixed_ips=(BAD_IP,)),
        applies=lambda case: BAD_IP in case.fixed_ips,
        nova_raises="InvalidIpAddressError",
        refused="not an IP address",
    ),
    Difference(
        id="unbound",
        example=Case(vif_type=VifType.UNBOUND, vnic_type=VnicType.NORMAL),
        applies=lambda case: case.vif_type in UNBOUND,
        nova_raises="InternalError",
        nova_says="Unexpected vif_type",
        refused="there is no VIF",
    ),
    Difference(
        id="vrouter-unsupported",
        example=Case(vif_type=VROUTER, vnic_type=VnicType.MACVTAP),
        applies=is_pair(VROUTER, *set(VnicType) - ON_VROUTER),
        nova_raises="NotImplementedError",
        nova_says="^$",
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="no-profile",
        example=replace(DIRECT, profile=False),
        applies=lambda case: needs_vf(case) and not case.profile,
        nova_raises="TypeError",
        refused="no VF is claimed",
    ),
    Difference(
        id="no-pci-slot",
        example=replace(FORWARDER, pci_slot=None),
        applies=lambda case: needs_vf(case) and case.profile and case.pci_slot is None,
        nova_raises="KeyError",
        nova_says="pci_slot",
        refused="no VF is claimed",
    ),
    Difference(
        id="bad-pci-slot",
        example=replace(DIRECT, pci_slot="03:00.1"),
        applies=lambda case: (
            needs_vf(case)
            and not unchecked_slot(case)
            and case.profile
            and case.pci_slot in BAD_SLOTS
        ),
        nova_raises="ValueError",
        refused="not a PCI address",
    ),
    Difference(
        id="wide-pci-domain",
        example=replace(DIRECT, pci_slot="10000:03:00.1"),
        applies=lambda case: (
            needs_vf(case)
            and not unchecked_slot(case)
            and case.profile
            and case.pci_slot in WIDE_SLOTS
        ),
        nova_raises="ValueError",
        mended=lambda case: replace(case, pci_slot="0000:03:00.1"),
        corrected=of_wide_domain,
    ),
    Difference(
        id="bad-socket-mode",
        example=FORWARDER.with_details(vhostuser_mode="listen"),
        applies=lambda case: needs_socket(case) and case.details.get("vhostuser_mode") not in MODES,
        nova_raises="ValueError",
        refused="not a vhost-user mode",
    ),
    Difference(
        id="no-socket",
        example=replace(FORWARDER, details={}),
        applies=lambda case: needs_socket(case) and not case.details.get("vhostuser_socket"),
        nova_raises="VifDetailsMissingVhostuserSockPath",
        nova_says="vhostuser_sock_path",
        refused="vhostuser_socket",
    ),
    Difference(
        id="bad-socket",
        example=FORWARDER.with_details(vhostuser_socket=BAD_SOCKETS[0]),
        applies=lambda case: (
            needs_socket(case) and case.details.get("vhostuser_socket") in BAD_SOCKETS
        ),
        nova_gives=lambda vif, case: vif.path == case.details["vhostuser_socket"],
        refused="socket",
    ),
    Difference(
        id="hw-veb-no-vlan",
        example=replace(VEB, details={}),
        applies=lambda case: (
            case.vif_type is HW_VEB
            and case.profile
            and case.pci_slot is not None
            and "vlan" not in case.details
        ),
        nova_raises="KeyError",
        nova_says="vlan",
        refused="names no VLAN",
    ),
    Difference(
        id="hw-veb-bad-vlan",
        example=VEB.with_details(vlan="untagged"),
        applies=lambda case: case.vif_type is HW_VEB and case.details.get("vlan") in BAD_VLANS,
        nova_gives=lambda vif, case: str(vif.network.vlan or "") == case.details["vlan"],
        refused="VLAN",
    ),
    Difference(
        id="hw-veb-vnic",
        example=replace(VEB, vnic_type=VnicType.NORMAL),
        applies=is_pair(HW_VEB, *set(VnicType) - IN_NIC),
        nova_gives=lambda vif, case: (
            vif.kind is VifKind.HOST_DEVICE
            if case.vnic_type is VnicType.ACCELERATOR_DIRECT
            else vif.kind is VifKind.GENERIC
        ),
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="unchecked-pci-slot",
        example=replace(FORWARDER, vif_type=VROUTER, pci_slot="eth0"),
        applies=lambda case: unchecked_slot(case) and case.profile and case.pci_slot in BAD_SLOTS,
        nova_gives=uses_slot,
        refused="not a PCI address",
    ),
    Difference(
        id="ovs-forwarder",
        example=replace(NORMAL, vnic_type=VnicType.VIRTIO_FORWARDER, details=SOCKET),
        applies=is_pair(OVS, VnicType.VIRTIO_FORWARDER),
        nova_gives=is_tap,
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="ovs-passthrough",
        example=replace(NORMAL, vnic_type=VnicType.MACVTAP),
        applies=is_pair(OVS, *FOREIGN),
        nova_gives=is_tap,
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="ovs-bare-metal",
        example=replace(NORMAL, vnic_type=VnicType.SMART_NIC),
        applies=is_pair(OVS, *BARE_METAL),
        nova_gives=is_tap,
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="agilio-normal",
        example=replace(NORMAL, vif_type=AGILIO),
        applies=is_pair(AGILIO, VnicType.NORMAL),
        nova_gives=is_tap,
        corrected=by_agilio,
    ),
    Difference(
        id="agilio-vdpa",
        example=replace(DIRECT, vif_type=AGILIO, vnic_type=VnicType.VDPA),
        applies=is_pair(AGILIO, VnicType.VDPA),
        nova_gives=lambda vif, case: vif.kind is VifKind.HOST_DEVICE and vif.plugin == "ovs",
        corrected=by_agilio,
    ),
    Difference(
        id="agilio-remote-managed",
        example=replace(DIRECT, vif_type=AGILIO, vnic_type=VnicType.REMOTE_MANAGED),
        applies=is_pair(AGILIO, VnicType.REMOTE_MANAGED),
        nova_gives=lambda vif, case: vif.kind is VifKind.HOST_DEVICE and vif.plugin == "noop",
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="agilio-unsupported",
        example=replace(NORMAL, vif_type=AGILIO, vnic_type=VnicType.DIRECT_PHYSICAL),
        applies=is_pair(AGILIO, *FOREIGN, *BARE_METAL),
        nova_gives=is_tap,
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="vhostuser-vnic",
        example=replace(DIRECT, vif_type=VHOSTUSER, details=SWITCH_SOCKET),
        applies=lambda case: case.vif_type is VHOSTUSER and case.vnic_type is not VnicType.NORMAL,
        nova_gives=lambda vif, case: (
            vif.kind is VifKind.VHOSTUSER and (vif.profile is None or vif.profile.offload is None)
        ),
        refused=CANNOT_CARRY,
    ),
    Difference(
        id="no-bridge",
        example=replace(NORMAL, network_bridge=False),
        applies=lambda case: (
            needs_bridge(case) and not case.network_bridge and "bridge_name" not in case.details
        ),
        nova_gives=lambda vif, case: vif.network.bridge == nova_bridge(case),
        refused="names a bridge",
    ),
    Difference(
        id="long-bridge",
        example=NORMAL.with_details(bridge_name=LONG_BRIDGE),
        applies=lambda case: needs_bridge(case) and case.details.get("bridge_name") == LONG_BRIDGE,
        nova_gives=lambda vif, case: vif.network.bridge == LONG_BRIDGE[:14],
        corrected=on_long_bridge,
    ),
    Difference(
        id="multicast-mac",
        example=replace(NORMAL, mac="01:00:5e:00:00:01"),
        applies=lambda case: bool(int(case.mac[:2], 16) & 1),
        nova_gives=lambda vif, case: vif.address == case.mac.lower(),
        refused="multicast",
    ),
    Difference(
        id="ip-order",
        example=replace(NORMAL, fixed_ips=("10.0.0.5", "10.0.1.5", "10.0.0.6")),
        applies=interleaved,
        nova_gives=lambda vif, case: (
            list(vif.fixed_ips) == [ip for subnet in case.subnets().values() for ip in subnet]
        ),
        corrected=lambda vif, case: replace(vif, fixed_ips=case.fixed_ips),
    ),
)
