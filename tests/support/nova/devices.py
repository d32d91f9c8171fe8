"""Devices as Nova sees them, in place of sysfs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from nova.pci import devspec
from nova.pci import utils as pci_utils

from smartvif.host.pci_devices import PciDevice


def as_nova(device: PciDevice) -> dict[str, Any]:
    """The device as Nova's libvirt driver describes it."""
    described: dict[str, Any] = {
        "vendor_id": device.vendor,
        "product_id": device.product,
        "address": str(device.address),
        "capabilities": {"vpd": {"card_serial_number": device.serial}} if device.serial else {},
    }
    return described if device.parent is None else {**described, "parent_addr": str(device.parent)}


def stand_in(patch: pytest.MonkeyPatch, devices: Sequence[PciDevice]) -> None:
    """Have Nova find these devices where it reads sysfs."""
    at = {str(device.address): device for device in devices}

    def by_ifname(name: str) -> tuple[str | None, bool]:
        for address, device in at.items():
            if name in device.netdevs:
                return address, device.is_pf
        return None, False

    def is_pf(*fields: str) -> bool:
        device = at.get("{}:{}:{}.{}".format(*fields))
        return device is not None and device.is_pf

    # Nova has the text of an address for an interface's PF alone, and not for one that is given.
    for kind in (devspec.PciAddressGlobSpec, devspec.PciAddressRegexSpec):
        patch.setattr(kind, "__str__", devspec.PhysicalPciAddress.__str__)
    patch.setattr(pci_utils, "get_function_by_ifname", by_ifname)
    patch.setattr(pci_utils, "is_physical_function", is_pf)
    patch.setattr(pci_utils, "get_vf_product_id_by_pf_addr", lambda name: at[name].vf_product)
    patch.setattr(
        pci_utils, "get_pci_ids_by_pci_addr", lambda name: (at[name].vendor, at[name].product)
    )
