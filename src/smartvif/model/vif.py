"""What is to be plugged: the one value that os-vif objects and libvirt XML are both views of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smartvif.model.pci import PciAddress
from smartvif.model.port import Network


class VifKind(StrEnum):
    """The shapes a VIF has, named after the os-vif classes they equal."""

    GENERIC = "VIFGeneric"
    BRIDGE = "VIFBridge"
    OPENVSWITCH = "VIFOpenVSwitch"
    VHOSTUSER = "VIFVHostUser"
    HOST_DEVICE = "VIFHostDevice"


class SocketMode(StrEnum):
    """Which end of a vhost-user socket QEMU is."""

    CLIENT = "client"
    SERVER = "server"


class ProfileKind(StrEnum):
    """Port profiles, named after the os-vif classes they equal."""

    BASE = "VIFPortProfileBase"
    OPENVSWITCH = "VIFPortProfileOpenVSwitch"
    OVS_REPRESENTOR = "VIFPortProfileOVSRepresentor"
    FP_OPENVSWITCH = "VIFPortProfileFPOpenVSwitch"
    FP_BRIDGE = "VIFPortProfileFPBridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """A datapath offloaded to the VF at ``representor_address``.

    ``representor_name`` is the name the caller would like the representor to have.
    """

    representor_name: str | None = None
    representor_address: PciAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortProfile:
    """What the switch must know of the port; ``multiqueue`` is for a tap that we create.

    ``bridge_name`` and ``hybrid_plug`` are 6WIND's, in the two FP profiles.
    """

    kind: ProfileKind
    interface_id: str | None = None
    datapath_type: str | None = None
    create_port: bool = False
    create_tap: bool = False
    multiqueue: bool = False
    bridge_name: str | None = None
    hybrid_plug: bool = False
    offload: Offload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vif:
    """One attachment, decided and not yet made.

    ``vif_name`` is the host-side netdev or port; ``bridge_name`` the hybrid Linux bridge or the
    switch's bridge; ``path`` and ``mode`` are a vhost-user socket's; ``dev_address`` is the VF a
    guest gets as a PCI device. ``fixed_ips`` are the guest's addresses, of both IP versions.
    ``trusted`` is None where the controller does not say it, as by os-vif, which has no field.
    """

    id: str
    kind: VifKind
    plugin: str
    address: str
    network: Network
    vif_name: str | None = None
    bridge_name: str | None = None
    path: str | None = None
    mode: SocketMode | None = None
    dev_address: PciAddress | None = None
    profile: PortProfile | None = None
    has_traffic_filtering: bool = False
    fixed_ips: tuple[str, ...] = ()
    trusted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Whose VIF it is: libvirt's or Nova's identifier and name, and Nova's project."""

    uuid: str
    name: str
    project: str | None = None
