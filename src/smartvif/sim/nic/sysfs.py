"""The sysfs tree of a simulated SmartNIC, laid out as the kernel does.

All links are relative, so the tree is right wherever it stands: given as a root to our own look-ups
or bound over /sys for programs that know no other place. ``write_sysfs`` draws a card whose
interfaces need not exist, and which does not change. A simulated host has ``write_functions``, and
interfaces that ``sim.nic.sysfs_follow`` keeps up to date. Writing to the files of a function makes
no driver act. That the card is simulated is said by its drivers' names.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smartvif.host import sriov
from smartvif.model.errors import Failed
from smartvif.model.pci import PciAddress
from smartvif.sim.nic import nic

PF_DRIVER, VF_DRIVER, VFIO_DRIVER = sriov.SIMULATED_PF_DRIVER, "smartvif_sim_vf", "vfio-pci"
# No vendor has this number (pci.ids); a device_spec for the simulated card matches no real one.
VENDOR, PF_DEVICE, VF_DEVICE = "fff0", "5350", "5356"

BUS = "devices/pci0000:00"
_SPEED = "10000"  # Mbit/s, what the kernel says of a veth (drivers/net/veth.c)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardNetdev:
    """An interface of the card: its name when the card is made, and the PCI function it is below.

    ``attributes`` are the files that its driver answers for.
    """

    name: str
    function: PciAddress
    attributes: Mapping[str, str]


def card_netdevs(layout: nic.NicLayout) -> Iterator[CardNetdev]:
    """Every interface that a card's functions have in sysfs."""
    for pf in range(layout.pfs):
        switch = {} if layout.is_legacy(pf) else {"phys_switch_id": switch_id(pf)}
        parent = nic.pf_address(pf)
        said = {**switch, "phys_port_name": f"p{pf}", "speed": _SPEED}
        yield CardNetdev(name=nic.uplink(pf), function=parent, attributes=said)
        for vf in range(layout.vfs):
            # A VF's own interface is no port of the switch and has neither name nor id in it.
            own = nic.vf_address(pf, vf)
            yield CardNetdev(name=nic.vf_netdev(pf, vf), function=own, attributes={})
            if switch:
                # mlx5, nfp and bnxt put a representor below its PF.
                said = {**switch, "phys_port_name": f"pf{pf}vf{vf}"}
                name = nic.representor(pf, vf)
                yield CardNetdev(name=name, function=parent, attributes=said)


def write_sysfs(layout: nic.NicLayout, root: Path) -> None:
    """Write the tree of ``layout`` into the directory ``root``, made if it is not there.

    An interface that exists in the present network namespace is shown with its own ifindex.

    Raises: Failed, if the directory is not empty or cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise Failed("it is not empty", where=str(root), hint="give a directory of its own")
        write_functions(layout, root)
        _Drawing(str(root)).write(layout)
    except OSError as error:
        raise Failed(
            f"cannot write: {error.strerror}", where=str(error.filename or root)
        ) from error


def write_functions(layout: nic.NicLayout, root: Path) -> None:
    """Write the PCI functions of ``layout``, with their drivers and IOMMU groups, into ``root``.

    Raises: OSError.
    """
    _Functions(str(root)).write(layout)


def switch_id(pf: int) -> str:
    """The switch id of a PF: each has a switch of its own, as on mlx5."""
    return f"025356000000{pf:02x}00"


def write_files(folder: str, attributes: Mapping[str, str]) -> None:
    """Write attributes as the kernel shows them: the text and a newline.

    Raises: OSError.
    """
    for name, text in attributes.items():
        path = f"{folder}/{name}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, f"{text}\n".encode())
        finally:
            os.close(handle)


class _Functions:
    def __init__(self, root: str) -> None:
        self._root = root
        self._groups = 0

    def write(self, layout: nic.NicLayout) -> None:
        """All functions of the card."""
        for folder in ("bus/pci/devices", "class/net", "kernel/iommu_groups", BUS):
            os.makedirs(f"{self._root}/{folder}")
        for driver in (PF_DRIVER, VF_DRIVER, VFIO_DRIVER):
            os.makedirs(f"{self._root}/bus/pci/drivers/{driver}")
        for pf in range(layout.pfs):
            self._pf(pf, layout.vfs)
            for vf in range(layout.vfs):
                self._vf(pf, vf)

    def _pf(self, pf: int, vfs: int) -> None:
        folder = self._function(str(nic.pf_address(pf)), pf, PF_DEVICE, PF_DRIVER)
        offset = sriov.routing_id(nic.vf_address(pf, 0)) - sriov.routing_id(nic.pf_address(pf))
        attributes = {
            "sriov_totalvfs": "256",
            "sriov_numvfs": str(vfs),
            "sriov_offset": str(offset),
            "sriov_stride": "1",
            "sriov_drivers_autoprobe": "1",
            "sriov_vf_device": VF_DEVICE,
        }
        write_files(f"{self._root}/{folder}", attributes)
        for vf in range(vfs):
            self._link(f"../{nic.vf_address(pf, vf)}", f"{folder}/virtfn{vf}")

    def _vf(self, pf: int, vf: int) -> None:
        folder = self._function(str(nic.vf_address(pf, vf)), pf, VF_DEVICE, VF_DRIVER)
        self._link(f"../{nic.pf_address(pf)}", f"{folder}/physfn")

    def _function(self, address: str, pf: int, device: str, driver: str) -> str:
        """A PCI function, alone in its IOMMU group; the PFs take turns on two NUMA nodes."""
        folder = f"{BUS}/{address}"
        os.makedirs(f"{self._root}/{folder}/net")
        attributes = {
            "vendor": f"0x{VENDOR}",
            "device": f"0x{device}",
            "subsystem_vendor": f"0x{VENDOR}",
            "subsystem_device": f"0x{device}",
            "class": "0x020000",  # Ethernet controller (include/linux/pci_ids.h)
            "numa_node": str(pf % 2),
            "driver_override": "(null)",
        }
        write_files(f"{self._root}/{folder}", attributes)
        group = f"kernel/iommu_groups/{self._groups}"
        self._groups += 1
        os.makedirs(f"{self._root}/{group}/devices")
        self._link(f"../../../{group}", f"{folder}/iommu_group")
        self._link(f"../../../../{folder}", f"{group}/devices/{address}")
        self._link(f"../../../bus/pci/drivers/{driver}", f"{folder}/driver")
        self._link(f"../../../../{folder}", f"bus/pci/drivers/{driver}/{address}")
        self._link("../../../bus/pci", f"{folder}/subsystem")
        self._link(f"../../../{folder}", f"bus/pci/devices/{address}")
        return folder

    def _link(self, target: str, path: str) -> None:
        os.symlink(target, f"{self._root}/{path}")


class _Drawing:
    """Interfaces as they would be; they need not exist."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._ifindexes = {name: number for number, name in socket.if_nameindex()}
        self._free_ifindexes = itertools.count(max(self._ifindexes.values(), default=0) + 1)

    def write(self, layout: nic.NicLayout) -> None:
        """All interfaces of the card, and the loopback interface."""
        self._loopback()
        for netdev in card_netdevs(layout):
            self._netdev(netdev)

    def _netdev(self, netdev: CardNetdev) -> None:
        folder = f"{BUS}/{netdev.function}/net/{netdev.name}"
        for part in ("", "/queues", "/queues/rx-0", "/queues/tx-0"):
            os.mkdir(f"{self._root}/{folder}{part}")
        attributes = {
            "address": nic.mac(netdev.name),
            "mtu": str(nic.MTU),
            "ifindex": self._ifindex(netdev.name),
            **netdev.attributes,
        }
        write_files(f"{self._root}/{folder}", attributes)
        os.symlink(f"../../../{netdev.function}", f"{self._root}/{folder}/device")
        os.symlink("../../../../../class/net", f"{self._root}/{folder}/subsystem")
        os.symlink(f"../../{folder}", f"{self._root}/class/net/{netdev.name}")

    def _loopback(self) -> None:
        folder = "devices/virtual/net/lo"
        os.makedirs(f"{self._root}/{folder}")
        attributes = {
            "address": "00:00:00:00:00:00",
            "mtu": "65536",
            "ifindex": self._ifindex("lo"),
        }
        write_files(f"{self._root}/{folder}", attributes)
        os.symlink("../../../../class/net", f"{self._root}/{folder}/subsystem")
        os.symlink(f"../../{folder}", f"{self._root}/class/net/lo")

    def _ifindex(self, name: str) -> str:
        """Its own, or for one that does not exist here the next that is free."""
        number = self._ifindexes.get(name)
        return str(next(self._free_ifindexes) if number is None else number)
