"""What a person asks for when attaching a machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smartvif.model import checks
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType


class Mode(StrEnum):
    """The three ways of attaching a machine, which are Neutron's VNIC types."""

    NORMAL = "normal"
    DIRECT = "direct"
    VIRTIO_FORWARDER = "virtio-forwarder"

    @property
    def vnic_type(self) -> VnicType:
        """The VNIC type of the same name."""
        return VnicType(self.value)

    @property
    def needs_vf(self) -> bool:
        """Whether a VF is behind the port."""
        return self is not Mode.NORMAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One attachment. ``mtu`` in bytes; ``pf`` an address or a netdev. None: choose.

    Raises: Invalid, for a value that can never be right.
    """

    vm: str
    mode: Mode
    bridge: str
    vlan: int | None = None
    mtu: int | None = None
    mac: str | None = None
    pf: str | None = None
    vf: PciAddress | None = None

    def __post_init__(self) -> None:
        checks.ifname(self.bridge)
        if self.vlan is not None:
            checks.vlan(self.vlan)
        if self.mtu is not None:
            checks.mtu(self.mtu)
        if self.mac is not None:
            checks.mac(self.mac)
