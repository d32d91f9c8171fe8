"""Every PCI function of a host, of whatever kind (Documentation/ABI/testing/sysfs-bus-pci)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smartvif.host import sysfs, vpd
from smartvif.host.sriov import SYSFS
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

# PCI_BASE_CLASS_NETWORK (include/linux/pci_ids.h).
_NETWORK_CLASS = "0x02"


@dataclass(frozen=True, slots=True, kw_only=True)
class PciDevice:
    """One PCI function.

    ``vendor`` and ``product`` are four hexadecimal digits, and so is ``vf_product``, which the VFs
    of a PF have. ``parent`` is the PF of a VF. ``netdevs`` are the interfaces below it in this
    network namespace; below a PF there may be representors too. ``serial`` is the card's serial
    number, a VF's own or else its PF's, where it was read.
    """

    address: PciAddress
    vendor: str
    product: str
    parent: PciAddress | None = None
    is_pf: bool = False
    vf_product: str | None = None
    is_network: bool = True
    netdevs: tuple[str, ...] = ()
    serial: str | None = None


def devices(root: Path = SYSFS, *, serials: bool = False) -> tuple[PciDevice, ...]:
    """Every PCI function in the order of the addresses; what vanishes is left out.

    ``serials``: read serial numbers as well, which takes root, and some cards milliseconds.
    """
    folder = f"{root}/bus/pci/devices"
    found = (_device(folder, name, serials=serials) for name in sysfs.names(folder))
    present = (device for device in found if device is not None)
    return tuple(sorted(present, key=lambda device: device.address))


def _device(devices: str, name: str, *, serials: bool) -> PciDevice | None:
    folder = f"{devices}/{name}"
    vendor, product = _identifier(folder, "vendor"), _identifier(folder, "device")
    if vendor is None or product is None:
        return None
    parent = sysfs.target(f"{folder}/physfn")
    try:
        address = PciAddress.parse(name)
        pf = None if parent is None else PciAddress.parse(parent)
    except Invalid:
        return None
    serial = vpd.serial(f"{folder}/vpd") if serials else None
    if serials and serial is None and pf is not None:
        serial = vpd.serial(f"{devices}/{pf}/vpd")
    return PciDevice(
        address=address,
        vendor=vendor,
        product=product,
        parent=pf,
        is_pf=(sysfs.number(f"{folder}/sriov_totalvfs") or 0) > 0,
        vf_product=_identifier(folder, "sriov_vf_device"),
        is_network=(sysfs.read(f"{folder}/class") or "").startswith(_NETWORK_CLASS),
        netdevs=tuple(sorted(sysfs.names(f"{folder}/net"))),
        serial=serial,
    )


def _identifier(folder: str, name: str) -> str | None:
    # sriov_vf_device has neither '0x' nor leading zeros (drivers/pci/iov.c, sriov_vf_device_show).
    text = sysfs.read(f"{folder}/{name}")
    return text.removeprefix("0x").zfill(4) if text else None
