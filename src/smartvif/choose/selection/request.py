"""Device requests: what has to be claimed for a port. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smartvif.model import traits
from smartvif.model.choices import NumaPolicy
from smartvif.model.pci import PciAddress
from smartvif.model.port import Port, VnicType


class DeviceType(StrEnum):
    """The kinds of device that a port can have of a SmartNIC."""

    VF = "VF"
    PF = "PF"
    VDPA = "vdpa"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """What port ``id`` needs. ``device`` is None where it needs no device.

    ``physical_network`` is None where the network is a tunnelled one. The device must have the
    ``required`` traits and none of the ``forbidden``, the host itself ``host_traits``. ``min_rate``
    is in kbit/s, of what the guest sends. ``pf``, an address or a netdev, and ``vf`` are set where
    the user named the device.
    """

    id: str
    device: DeviceType | None = None
    physical_network: str | None = None
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    host_traits: frozenset[str] = frozenset()
    numa: NumaPolicy = NumaPolicy.PREFERRED
    min_rate: int = 0
    pf: str | None = None
    vf: PciAddress | None = None


_DEVICES = {
    VnicType.DIRECT: DeviceType.VF,
    VnicType.MACVTAP: DeviceType.VF,
    VnicType.VIRTIO_FORWARDER: DeviceType.VF,
    VnicType.REMOTE_MANAGED: DeviceType.VF,
    VnicType.DIRECT_PHYSICAL: DeviceType.PF,
    VnicType.VDPA: DeviceType.VDPA,
    # Of the others, normal needs no device, and the rest is claimed by other services:
    # Cyborg (accelerator-*) or Ironic (baremetal, smart-nic).
}


def request(
    port: Port, *, host_traits: frozenset[str] = frozenset(), in_nic: bool = False
) -> DeviceRequest:
    """The request of a port whose switch runs on hosts with ``host_traits``.

    A switch that steers a VF needs its representor. ``in_nic``, and macvtap, are for a VF that its
    own card switches by MAC and VLAN, which it does in legacy mode only.
    """
    device = _DEVICES.get(port.vnic_type)
    if device is None:
        return DeviceRequest(id=port.id, host_traits=host_traits)
    required, forbidden = set(port.needs.capabilities), set[str]()
    if device is not DeviceType.PF:
        legacy = in_nic or port.vnic_type is VnicType.MACVTAP
        (forbidden if legacy else required).add(traits.SWITCHDEV)
        required.add(traits.vnic_type(port.vnic_type))
    remote = port.vnic_type is VnicType.REMOTE_MANAGED
    (required if remote else forbidden).add(traits.REMOTE_MANAGED)
    if port.needs.trusted:
        required.add(traits.TRUSTED)
    return DeviceRequest(
        id=port.id,
        device=device,
        physical_network=port.network.physical_network,
        required=frozenset(required),
        forbidden=frozenset(forbidden),
        host_traits=host_traits,
        numa=port.needs.numa,
        min_rate=port.needs.min_rate,
    )
