"""A port on a network, as it is requested, and the controller's binding of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from smartvif.model.needs import NOTHING_SPECIAL, Needs
from smartvif.model.pci import PciAddress


class VnicType(StrEnum):
    """Neutron's VNIC types (neutron-lib, api/definitions/portbindings)."""

    NORMAL = "normal"
    DIRECT = "direct"
    MACVTAP = "macvtap"
    DIRECT_PHYSICAL = "direct-physical"
    BAREMETAL = "baremetal"
    VIRTIO_FORWARDER = "virtio-forwarder"
    SMART_NIC = "smart-nic"
    VDPA = "vdpa"
    ACCELERATOR_DIRECT = "accelerator-direct"
    ACCELERATOR_DIRECT_PHYSICAL = "accelerator-direct-physical"
    REMOTE_MANAGED = "remote-managed"


class VifType(StrEnum):
    """How a controller says a port is to be attached (``binding:vif_type``).

    These are the ones of Neutron's that we know. They are no closed set: a switch names its own.
    """

    OVS = "ovs"
    AGILIO_OVS = "agilio_ovs"
    VROUTER = "vrouter"
    VHOSTUSER = "vhostuser"
    HW_VEB = "hw_veb"
    UNBOUND = "unbound"
    BINDING_FAILED = "binding_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network a port is in. ``mtu`` in bytes.

    ``vlan`` is the tag on the bridge, if any: of a provider network, its segmentation id.
    """

    id: str
    bridge: str | None = None
    physical_network: str | None = None
    vlan: int | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port as a user or Neutron asks for it. ``vf`` is its VF, once one is claimed.

    ``fixed_ips`` are its addresses, of both IP versions.
    """

    id: str
    mac: str
    network: Network
    vnic_type: VnicType = VnicType.NORMAL
    vf: PciAddress | None = None
    fixed_ips: tuple[str, ...] = ()
    needs: Needs = NOTHING_SPECIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The controller's answer (``binding:vif_type`` and ``binding:vif_details``)."""

    vif_type: str
    details: dict[str, str | bool] = field(default_factory=dict)
