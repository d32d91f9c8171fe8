"""A small kernel behind the files of a sysfs tree, which binds drivers to devices."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from smartvif.drivers.kernel.netdevice import Link
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import VF_DRIVER

PF, VF, NEIGHBOUR = nic.pf_address(0), nic.vf_address(0, 1), nic.vf_address(0, 0)
NETDEV = nic.vf_netdev(0, 1)
DOWN, UP = "0x1002", "0x1003"
MTU, OWN_MTU = 9000, 1500
ERRORS = (errno.EBUSY, errno.ENODEV, errno.EACCES)
TAKEN = 4  # writes that it takes to take a VF, or to give it back at the most


class Died(BaseException):
    """The process is no more: nothing that it would have done yet happens."""


class Kernel:
    """What happens at a write into sysfs, and the links of this network namespace.

    ``fails`` has the error of the write of that number, which does nothing then; ``last`` is the
    number of the write after which the process dies.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.devices, self.drivers = root / "bus/pci/devices", root / "bus/pci/drivers"
        self.written: list[tuple[str, str]] = []
        self.fails: dict[int, int] = {}
        self.last: int | None = None
        self.new_netdev: str | None = NETDEV
        self.mute = False  # binds nothing, and says that it has

    def write(self, path: str, text: str) -> None:
        """The seam: what ``vfio`` writes comes here."""
        if self.last is not None and len(self.written) > self.last:
            raise Died
        number = len(self.written)
        self.written.append((str(Path(path).relative_to(self.root / "bus/pci")), text))
        if number in self.fails:
            raise OSError(self.fails[number], os.strerror(self.fails[number]))
        parts = Path(path).parts
        assert text.strip("\0")
        if parts[-1] == "driver_override":
            Path(path).write_text("(null)\n" if text == "\n" else f"{text}\n")
        elif parts[-1] == "unbind":
            self.unbind(text, parts[-2])
        else:
            assert parts[-1] == "bind"
            self.bind(text, parts[-2])
        if number == self.last:
            raise Died

    def unbind(self, address: str, driver: str) -> None:
        if self.driver(address) != driver:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        (self.devices / address / "driver").unlink()
        (self.drivers / driver / address).unlink()
        shutil.rmtree(self.devices / address / "net", ignore_errors=True)

    def bind(self, address: str, driver: str) -> None:
        """drivers/base/bus.c, bind_store; drivers/pci/pci-driver.c, pci_match_device."""
        device = self.devices / address
        override = (device / "driver_override").read_text().strip()
        may_probe = (device / "physfn/sriov_drivers_autoprobe").read_text().strip() == "1"
        fits = driver == VF_DRIVER and may_probe if override == "(null)" else driver == override
        if not fits or self.driver(address) is not None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if self.mute:
            return
        (device / "driver").symlink_to(self.drivers / driver)
        (self.drivers / driver / address).symlink_to(device)
        if driver == VF_DRIVER and self.new_netdev is not None:
            self.add_netdev(address, self.new_netdev)

    def add_netdev(self, address: str, name: str) -> None:
        folder = self.devices / address / "net" / name
        folder.mkdir(parents=True)
        (folder / "flags").write_text(f"{DOWN}\n")
        (folder / "mtu").write_text(f"{OWN_MTU}\n")

    def driver(self, address: str) -> str | None:
        link = self.devices / address / "driver"
        return link.readlink().name if link.is_symlink() else None

    def state(self) -> dict[str, Any]:
        """All that can be seen of the VF and of its neighbour."""
        return {
            str(address): (
                self.driver(str(address)),
                (self.devices / str(address) / "driver_override").read_text(),
                {
                    netdev.name: (netdev / "mtu").read_text()
                    for netdev in (self.devices / str(address)).glob("net/*")
                },
            )
            for address in (VF, NEIGHBOUR)
        }

    def reborn(self) -> None:
        """Another process goes on, to which nothing happens."""
        self.written, self.fails, self.last = [], {}, None

    def get(self, name: str) -> Link | None:
        for folder in self.devices.glob(f"*/net/{name}"):
            mtu = int((folder / "mtu").read_text())
            return Link(name=name, mac="02:00:00:00:00:01", mtu=mtu, up=False)
        return None

    def set_mtu(self, name: str, mtu: int) -> None:
        for folder in self.devices.glob(f"*/net/{name}"):
            (folder / "mtu").write_text(f"{mtu}\n")
