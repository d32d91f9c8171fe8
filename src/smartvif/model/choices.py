"""What a user chooses by name; apart from the values that have them, for help to be quick."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smartvif.model.port import VnicType

DEFAULT_SWITCH = "ovs"
"""The switch of a port that names none."""


class Mode(StrEnum):
    """The three ways of attaching a machine, which are Neutron's VNIC types."""

    NORMAL = "normal"
    DIRECT = "direct"
    VIRTIO_FORWARDER = "virtio-forwarder"

    @property
    def vnic_type(self) -> VnicType:
        """The VNIC type of the same name."""
        from smartvif.model.port import VnicType

        return VnicType(self.value)

    @property
    def needs_vf(self) -> bool:
        """Whether the port has a VF."""
        return self is not Mode.NORMAL


class NumaPolicy(StrEnum):
    """How near a device must be to its guest (Nova, ``hw:pci_numa_affinity_policy``)."""

    REQUIRED = "required"
    SOCKET = "socket"
    LEGACY = "legacy"
    PREFERRED = "preferred"
