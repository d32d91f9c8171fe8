"""Nova's allow-list beside ours, and the devices of a host that both judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nova import exception
from nova.compute import pci_placement_translator
from nova.conf import CONF
from nova.pci.whitelist import Whitelist

from smartvif.choose.allow_list.spec import DeviceSpec, parse
from smartvif.host.pci_devices import PciDevice
from smartvif.model.pci import PciAddress
from tests.support.nova.devices import as_nova

WHERE = "line 1"


def nova_specs(texts: Sequence[str], *, placement: bool = False) -> Any:
    """Nova's list of these values, examined as when nova-compute starts."""
    CONF.set_override("report_in_placement", placement, "pci")
    try:
        found = Whitelist(list(texts))
    finally:
        CONF.clear_override("report_in_placement", "pci")
    if placement:
        pci_placement_translator.ensure_no_dev_spec_with_devname(found.specs)
    return found


def nova_first(found: Any, device: PciDevice) -> int | None:
    """Which entry Nova decides by; it passes over what it cannot read (nova/pci/manager.py)."""
    try:
        chosen = found.device_assignable(as_nova(device))
    except exception.PciConfigInvalidSpec:
        return None
    return None if chosen is None else found.specs.index(chosen)


def nova_matches(spec: Any, device: PciDevice) -> bool:
    """Whether one entry of Nova's matches."""
    try:
        return bool(spec.match(as_nova(device)))
    except exception.PciConfigInvalidSpec:
        return False


def ours(texts: Sequence[str], *, placement: bool = False) -> tuple[DeviceSpec, ...]:
    """Our list of these values."""
    return tuple(spec for text in texts for spec in parse(text, WHERE, placement=placement))


def pf(bus: int, function: int, **changed: Any) -> PciDevice:
    """A PF of a card, with a netdev."""
    address = PciAddress(0, bus, 0, function)
    device = PciDevice(
        address=address,
        vendor="15b3",
        product="101d",
        is_pf=True,
        vf_product="101e",
        netdevs=(f"p{bus}f{function}",),
    )
    return replace(device, **changed)


def vf(parent: PciDevice, number: int, **changed: Any) -> PciDevice:
    """A VF of it: the first on its bus, the others on the next."""
    bus, slot = parent.address.bus, 1 if number == 0 else 0
    device = PciDevice(
        address=PciAddress(parent.address.domain, bus + (number > 0), slot, number),
        vendor=parent.vendor,
        product=parent.vf_product or "",
        parent=parent.address,
        netdevs=(f"{parent.netdevs[0]}v{number}",) if parent.netdevs else (),
        serial=parent.serial,
    )
    return replace(device, **changed)


GPU = PciDevice(address=PciAddress(0, 0x25, 0, 4), vendor="10de", product="25b6", is_network=False)
DISK = PciDevice(
    address=PciAddress(0x10000, 3, 0, 0), vendor="8086", product="0a54", is_network=False
)
CARD = pf(3, 0, serial="MT2108X00001")
OTHER = pf(0xAF, 1)
HOST = (CARD, vf(CARD, 0), vf(CARD, 1), OTHER, vf(OTHER, 0), vf(OTHER, 2), GPU)


def entry(**keys: Any) -> tuple[str, ...]:
    """One entry as the value of the option."""
    return (json.dumps(keys),)
