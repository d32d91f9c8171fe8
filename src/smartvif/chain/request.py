"""What a person asks for when attaching a machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

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


_CHECKS: dict[str, Callable[[Any], object]] = {
    "bridge": checks.ifname,
    "vlan": checks.vlan,
    "mtu": checks.mtu,
    "mac": checks.mac,
}


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
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                with checks.about(f"--{name}"):
                    check(value)
