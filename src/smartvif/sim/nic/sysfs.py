"""The sysfs tree of a simulated SmartNIC, laid out as the kernel does.

All links are relative, so the tree is right wherever it stands: given as a root to our own look-ups
or bound over /sys for programs that know no other place. It is a picture of the card at one moment:
nothing in it follows what is later done to the interfaces, and writing to it makes no driver act.
That the card is simulated is said by its drivers' names.
"""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

from smartvif.host import sriov
from smartvif.model.errors import Failed
from smartvif.sim.nic import nic

PF_DRIVER, VF_DRIVER, VFIO_DRIVER = sriov.SIMULATED_PF_DRIVER, "smartvif_sim_vf", "vfio-pci"
# No vendor has this number (pci.ids); a device_spec for the simulated card matches no real one.
VENDOR, PF_DEVICE, VF_DEVICE = "fff0", "5350", "5356"

_BUS = "devices/pci0000:00"
_SPEED = "10000"  # Mbit/s, what the kernel says of a veth (drivers/net/veth.c)


def write_sysfs(layout: nic.NicLayout, root: Path) -> None:
    """Write the tree of ``layout`` into the directory ``root``, made if it is not there.

    An interface that exists in the present network namespace is shown with its own ifindex.

    Raises: Failed, if the directory is not empty or cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise Failed("it is not empty", where=str(root), hint="give a directory of its own")
        _Tree(str(root)).write(layout)
    except OSError as error:
        raise Failed(
            f"cannot write: {error.strerror}", where=str(error.filename or root)
        ) from error


def switch_id(pf: int) -> str:
    """The switch id of a PF: each has a switch of its own, as on mlx5."""
    return f"025356000000{pf:02x}00"


class _Tree:
    def __init__(self, root: str) -> None:
        self._root = root
        self._ifindexes = {name: number for number, name in socket.if_nameindex()}
        self._free_ifindexes = itertools.count(max(self._ifindexes.values(), default=0) + 1)
        self._groups = 0

    def write(self, layout: nic.NicLayout) -> None:
        """The whole tree."""
        for folder in ("bus/pci/devices", "class/net", "kernel/iommu_groups", _BUS):
            os.makedirs(f"{self._root}/{folder}")
        for driver in (PF_DRIVER, VF_DRIVER, VFIO_DRIVER):
            os.makedirs(f"{self._root}/bus/pci/drivers/{driver}")
        self._loopback()
        for pf in range(layout.pfs):
            switch = {} if layout.is_legacy(pf) else {"phys_switch_id": switch_id(pf)}
            self._pf(pf, layout.vfs, switch)
            for vf in range(layout.vfs):
                self._vf(pf, vf, switch)

    def _pf(self, pf: int, vfs: int, switch: dict[str, str]) -> None:
        address = str(nic.pf_address(pf))
        folder = self._function(address, pf, PF_DEVICE, PF_DRIVER)
        offset = sriov.routing_id(nic.vf_address(pf, 0)) - sriov.routing_id(nic.pf_address(pf))
        self._files(
            folder,
            sriov_totalvfs="256",
            sriov_numvfs=str(vfs),
            sriov_offset=str(offset),
            sriov_stride="1",
            sriov_drivers_autoprobe="1",
            sriov_vf_device=VF_DEVICE,
        )
        for vf in range(vfs):
            self._link(f"../{nic.vf_address(pf, vf)}", f"{folder}/virtfn{vf}")
        self._netdev(address, nic.uplink(pf), **switch, phys_port_name=f"p{pf}", speed=_SPEED)

    def _vf(self, pf: int, vf: int, switch: dict[str, str]) -> None:
        address, parent = str(nic.vf_address(pf, vf)), str(nic.pf_address(pf))
        folder = self._function(address, pf, VF_DEVICE, VF_DRIVER)
        self._link(f"../{parent}", f"{folder}/physfn")
        # A VF's own interface is no port of the switch and has neither name nor id in it.
        self._netdev(address, nic.vf_netdev(pf, vf))
        if switch:
            # mlx5, nfp and bnxt put a representor below its PF.
            name = nic.representor(pf, vf)
            self._netdev(parent, name, **switch, phys_port_name=f"pf{pf}vf{vf}")

    def _function(self, address: str, pf: int, device: str, driver: str) -> str:
        """A PCI function, alone in its IOMMU group; the PFs take turns on two NUMA nodes."""
        folder = f"{_BUS}/{address}"
        os.makedirs(f"{self._root}/{folder}/net")
        self._files(
            folder,
            vendor=f"0x{VENDOR}",
            device=f"0x{device}",
            subsystem_vendor=f"0x{VENDOR}",
            subsystem_device=f"0x{device}",
            **{"class": "0x020000"},  # Ethernet controller (include/linux/pci_ids.h)
            numa_node=str(pf % 2),
            driver_override="(null)",
        )
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

    def _netdev(self, address: str, name: str, **phys: str) -> None:
        folder = f"{_BUS}/{address}/net/{name}"
        for part in ("", "/queues", "/queues/rx-0", "/queues/tx-0"):
            os.mkdir(f"{self._root}/{folder}{part}")
        self._files(
            folder,
            address=nic.mac(name),
            mtu=str(nic.MTU),
            ifindex=self._ifindex(name),
            **phys,
        )
        self._link(f"../../../{address}", f"{folder}/device")
        self._link("../../../../../class/net", f"{folder}/subsystem")
        self._link(f"../../{folder}", f"class/net/{name}")

    def _loopback(self) -> None:
        folder = "devices/virtual/net/lo"
        os.makedirs(f"{self._root}/{folder}")
        self._files(folder, address="00:00:00:00:00:00", mtu="65536", ifindex=self._ifindex("lo"))
        self._link("../../../../class/net", f"{folder}/subsystem")
        self._link(f"../../{folder}", "class/net/lo")

    def _ifindex(self, name: str) -> str:
        """Its own, or for one that does not exist here the next that is free."""
        number = self._ifindexes.get(name)
        return str(next(self._free_ifindexes) if number is None else number)

    def _files(self, folder: str, **attributes: str) -> None:
        for name, text in attributes.items():
            path = f"{self._root}/{folder}/{name}"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.write(handle, f"{text}\n".encode())
            finally:
                os.close(handle)

    def _link(self, target: str, path: str) -> None:
        os.symlink(target, f"{self._root}/{path}")
