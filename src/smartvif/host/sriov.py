"""The PFs and VFs of a host, read from sysfs (Documentation/ABI/testing/sysfs-bus-pci)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from smartvif.host import sysfs
from smartvif.host.port_name import PortKind, PortName
from smartvif.model.errors import NotFound
from smartvif.model.pci import PciAddress

SYSFS = Path("/sys")
# PCI_BASE_CLASS_NETWORK (include/linux/pci_ids.h): NVMe disks and crypto cards have VFs too.
_NETWORK_CLASS = "0x02"
SIMULATED_PF_DRIVER = "smartvif_sim_pf"


class EswitchMode(StrEnum):
    """The mode of a PF's switch (Documentation/networking/switchdev.rst)."""

    LEGACY = "legacy"
    SWITCHDEV = "switchdev"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vf:
    """One virtual function.

    ``vendor`` and ``device`` are four hexadecimal digits. ``netdev`` is its own network interface
    in this network namespace, which it loses when a guest or another namespace has it.
    """

    address: PciAddress
    pf: PciAddress
    number: int
    vendor: str
    device: str
    driver: str | None
    iommu_group: int | None
    numa_node: int | None
    netdev: str | None
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pf:
    """One physical function of a network card that can have VFs.

    ``netdev`` is the uplink, or the only or first interface where none says it is one.
    ``eswitch`` is derived from ``switch_id``, which drivers show in switchdev mode only; it is
    ``unknown`` where there is no interface to read.
    """

    address: PciAddress
    vendor: str
    device: str
    driver: str | None
    numa_node: int | None
    netdev: str | None
    total_vfs: int
    num_vfs: int
    switch_id: str | None
    eswitch: EswitchMode
    simulated: bool
    vfs: tuple[Vf, ...]


def pfs(root: Path = SYSFS) -> tuple[Pf, ...]:
    """Every PF with its VFs, in the order of their addresses; what vanishes is left out."""
    devices = _devices(root)
    found = (_pf(devices, name) for name in sysfs.names(devices))
    return tuple(sorted((pf for pf in found if pf is not None), key=lambda pf: pf.address))


def vf(address: PciAddress, root: Path = SYSFS) -> Vf:
    """One VF, at a cost that does not grow with their number.

    Raises: NotFound.
    """
    devices, name = _devices(root), str(address)
    pf = sysfs.target(f"{devices}/{name}/physfn")
    if pf is not None:
        number = _vf_number(devices, PciAddress.parse(pf), address)
        simulated = _is_simulated(f"{devices}/{pf}")
        found = None if number is None else _vf(devices, name, pf, number, simulated)
        if found is not None:
            return found
    if sysfs.read(f"{devices}/{name}/vendor") is None:
        raise NotFound(
            "there is no such PCI device",
            where=name,
            hint="a PF makes its VFs when their number is written to its sriov_numvfs",
        )
    raise NotFound("it is not a virtual function", where=name, hint="give the address of a VF")


def uplink(pf: PciAddress, root: Path = SYSFS) -> str | None:
    """The interface of a PF that faces the wire, or None where it has none."""
    return _uplink(f"{_devices(root)}/{pf}")


def routing_id(address: PciAddress) -> int:
    """Bus, slot and function as the 16 bits by which PCI Express routes."""
    return address.bus << 8 | address.slot << 3 | address.function


def _devices(root: Path) -> str:
    return f"{root}/bus/pci/devices"


def _pf(devices: str, name: str) -> Pf | None:
    folder = f"{devices}/{name}"
    # Only a PF has this file (drivers/pci/iov.c, sriov_pf_attrs_are_visible).
    total = sysfs.number(f"{folder}/sriov_totalvfs")
    if total is None or not (sysfs.read(f"{folder}/class") or "").startswith(_NETWORK_CLASS):
        return None
    vendor, device = _identifier(folder, "vendor"), _identifier(folder, "device")
    if vendor is None or device is None:
        return None
    simulated = _is_simulated(folder)
    netdev = _uplink(folder)
    switch_id = sysfs.read(f"{folder}/net/{netdev}/phys_switch_id") if netdev else None
    vfs = (
        _vf(devices, vf_name, name, number, simulated)
        for number, vf_name in _virtual_functions(folder)
    )
    return Pf(
        address=PciAddress.parse(name),
        vendor=vendor,
        device=device,
        driver=sysfs.target(f"{folder}/driver"),
        numa_node=_numa_node(folder),
        netdev=netdev,
        total_vfs=total,
        num_vfs=sysfs.number(f"{folder}/sriov_numvfs") or 0,
        switch_id=switch_id or None,
        eswitch=_eswitch(netdev, switch_id),
        simulated=simulated,
        vfs=tuple(found for found in vfs if found is not None),
    )


def _vf(devices: str, name: str, pf: str, number: int, simulated: bool) -> Vf | None:
    folder = f"{devices}/{name}"
    vendor, device = _identifier(folder, "vendor"), _identifier(folder, "device")
    if vendor is None or device is None:
        return None
    group = sysfs.target(f"{folder}/iommu_group")
    return Vf(
        address=PciAddress.parse(name),
        pf=PciAddress.parse(pf),
        number=number,
        vendor=vendor,
        device=device,
        driver=sysfs.target(f"{folder}/driver"),
        iommu_group=None if group is None else int(group),
        numa_node=_numa_node(folder),
        netdev=min(sysfs.names(f"{folder}/net"), default=None),
        simulated=simulated,
    )


def _virtual_functions(folder: str) -> list[tuple[int, str]]:
    """The number and the address of each VF of a PF, in the order of the numbers."""
    links = [name for name in sysfs.names(folder) if name.startswith("virtfn")]
    pairs = [(int(link[6:]), sysfs.target(f"{folder}/{link}")) for link in links]
    return sorted((number, name) for number, name in pairs if name is not None)


def _vf_number(devices: str, pf: PciAddress, address: PciAddress) -> int | None:
    """The number of a VF.

    PCI SIG SR-IOV 2.1.2, as in drivers/pci/iov.c (pci_iov_virtfn_devfn): the routing identifier of
    VF n is the PF's + offset + n x stride. The link confirms it; without it, all links are read.
    """
    folder = f"{devices}/{pf}"
    offset = sysfs.number(f"{folder}/sriov_offset")
    stride = sysfs.number(f"{folder}/sriov_stride")
    if offset is not None and stride:
        guess = (routing_id(address) - routing_id(pf) - offset) // stride
        if sysfs.target(f"{folder}/virtfn{guess}") == str(address):
            return guess
    matches = (n for n, name in _virtual_functions(folder) if name == str(address))
    return next(matches, None)


def _uplink(folder: str) -> str | None:
    """The interface that faces the wire; representors are in the same directory with it."""

    def rank(netdev: str) -> tuple[int, int, str]:
        name = PortName.parse(sysfs.read(f"{folder}/net/{netdev}/phys_port_name") or "")
        if name.kind is PortKind.UPLINK:
            return 0, name.number or 0, netdev
        return 1 if name.kind is PortKind.OTHER else 2, 0, netdev

    return min(sysfs.names(f"{folder}/net"), key=rank, default=None)


def _eswitch(netdev: str | None, switch_id: str | None) -> EswitchMode:
    if netdev is None:
        return EswitchMode.UNKNOWN
    return EswitchMode.SWITCHDEV if switch_id else EswitchMode.LEGACY


def _is_simulated(pf_folder: str) -> bool:
    return sysfs.target(f"{pf_folder}/driver") == SIMULATED_PF_DRIVER


def _identifier(folder: str, name: str) -> str | None:
    text = sysfs.read(f"{folder}/{name}")
    return None if text is None else text.removeprefix("0x")


def _numa_node(folder: str) -> int | None:
    # NUMA_NO_NODE is -1 (include/linux/numa.h).
    node = sysfs.number(f"{folder}/numa_node")
    return None if node is None or node < 0 else node
