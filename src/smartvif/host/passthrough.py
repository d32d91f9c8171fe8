"""The other PCI functions affected when a guest gets one, read from sysfs."""

from __future__ import annotations

from pathlib import Path

from smartvif.host import sysfs
from smartvif.host.function_driver import is_vfio
from smartvif.host.sriov import SYSFS, Pf, Vf
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

_FUNCTIONS = 8  # of a slot (PCI Local Bus Specification 3.0, 6.2)
# include/linux/pci_ids.h: PCI_BASE_CLASS_NETWORK, PCI_BASE_CLASS_BRIDGE
_NETWORK, _BRIDGE = "0x02", "0x06"


def passed_through_siblings(pf: Pf, root: Path = SYSFS) -> tuple[PciAddress, ...]:
    """The other PFs of the card of ``pf`` that are bound to vfio-pci, in order.

    They are the functions of its slot that are network cards, and no VFs: mlx5 has those there too.
    """
    own = pf.address
    others = (
        PciAddress(own.domain, own.bus, own.slot, function)
        for function in range(_FUNCTIONS)
        if function != own.function
    )
    return tuple(each for each in others if _is_passed_through(f"{root}/bus/pci/devices/{each}"))


def no_passthrough(vf: Vf, root: Path = SYSFS) -> str | None:
    """Why a guest cannot get ``vf`` by passthrough; None where it can."""
    if vf.iommu_group is None:
        return "it is in no IOMMU group: is the IOMMU on? (intel_iommu=on)"
    others = shares_group(vf, root)
    if not others:
        return None
    more = f" and {len(others) - 1} more" if others[1:] else ""
    return (
        f"it shares IOMMU group {vf.iommu_group} with {others[0]}{more},"
        " and a guest gets all or none"
    )


def shares_group(vf: Vf, root: Path = SYSFS) -> tuple[PciAddress, ...]:
    """The other functions in the IOMMU group of ``vf``, in order: a guest gets all or none.

    Bridges do not count, for vfio lets their drivers be (Documentation/driver-api/vfio.rst).
    """
    if vf.iommu_group is None:
        return ()
    names = sysfs.names(f"{root}/kernel/iommu_groups/{vf.iommu_group}/devices")
    others = {address for name in names if (address := _address(name)) not in (None, vf.address)}
    return tuple(sorted(each for each in others if each and not _is_bridge(each, root)))


def _is_passed_through(folder: str) -> bool:
    return (
        is_vfio(sysfs.target(f"{folder}/driver"))
        and sysfs.target(f"{folder}/physfn") is None
        and (sysfs.read(f"{folder}/class") or "").startswith(_NETWORK)
    )


def _is_bridge(address: PciAddress, root: Path) -> bool:
    kind = sysfs.read(f"{root}/bus/pci/devices/{address}/class")
    return (kind or "").startswith(_BRIDGE)


def _address(name: str) -> PciAddress | None:
    """None for what is on another bus: a group may hold platform devices."""
    try:
        return PciAddress.parse(name)
    except Invalid:
        return None
