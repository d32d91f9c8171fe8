"""Which processes have VFs open by VFIO: of a tree of /sys, and of one of /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartvif.host import sriov, vfio_users
from smartvif.host.sriov import Vf
from smartvif.model.known import Absent, Known, Present, Unknown
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import VFIO_DRIVER, write_sysfs

QEMU = "QEMU 4711, which has /dev/vfio/{} open"


class Host:
    """A card with three VFs, all on vfio-pci, and processes that have files open."""

    def __init__(self, folder: Path) -> None:
        self.root, self.proc = folder / "sys", folder / "proc"
        write_sysfs(nic.NicLayout(pfs=1, vfs=3), self.root)
        for number in range(3):
            self.bind(number, VFIO_DRIVER)
        self.process(1, "systemd", "/dev/null")

    def folder(self, number: int) -> Path:
        return (self.root / "bus/pci/devices" / str(nic.vf_address(0, number))).resolve()

    def bind(self, number: int, driver: str) -> None:
        (self.folder(number) / "driver").unlink()
        (self.folder(number) / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")

    def process(self, number: int, program: str, *files: str) -> Path:
        folder = self.proc / str(number) / "fd"
        folder.mkdir(parents=True)
        (folder.parent / "comm").write_text(f"{program}\n")
        for handle, file in enumerate(files):
            (folder / str(handle)).symlink_to(file)
        return folder

    @property
    def vfs(self) -> tuple[Vf, ...]:
        return sriov.pfs(self.root)[0].vfs

    def group(self, number: int) -> int:
        group = self.vfs[number].iommu_group
        assert group is not None
        return group

    def users(self) -> list[Known[str]]:
        found = vfio_users.users(self.vfs, self.root, self.proc)
        return [found[vf.address] for vf in self.vfs]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_bound_is_not_open(host: Host) -> None:
    """VFs that are kept on vfio-pci have no user, also where others have other files open."""
    host.process(
        4711, "qemu-system-x86", "/dev/vfio/vfio", "/dev/kvm", "socket:[53]", "/dev/vfio/9"
    )
    assert host.users() == [Absent()] * 3


@pytest.mark.parametrize("node", ["{}", "noiommu-{}"])
def test_an_open_group(host: Host, node: str) -> None:
    """The process that has a VF's group open is named, also by a path of its own mounts."""
    name = node.format(host.group(1))
    host.process(4711, "qemu-system-x86", "/dev/null", f"/dev/vfio/{name}")
    assert host.users() == [Absent(), Present(QEMU.format(name)), Absent()]


def test_an_open_device(host: Host) -> None:
    """By iommufd a device is opened, and not its group."""
    (host.folder(2) / "vfio-dev/vfio7").mkdir(parents=True)
    host.process(12, "dpdk-testpmd", "/dev/vfio/devices/vfio7")
    user = Present("dpdk-testpmd 12, which has /dev/vfio/devices/vfio7 open")
    assert host.users() == [Absent(), Absent(), user]


def test_a_group_of_several(host: Host) -> None:
    """A function whose group is open for another one's sake is in use with it."""
    shared = host.folder(1) / "iommu_group"
    shared.unlink()
    shared.symlink_to(f"../../../kernel/iommu_groups/{host.group(0)}")
    host.bind(1, "smartvif_sim_vf")
    host.process(4711, "qemu-kvm", f"/dev/vfio/{host.group(0)}")
    user = Present(QEMU.format(host.group(0)))
    assert host.users() == [user, user, Absent()]


@pytest.mark.parametrize(
    ("driver", "found"),
    [("mlx5_vfio_pci", Present(QEMU.format(1))), ("smartvif_sim_vf", None)],
)
def test_when_processes_are_read(host: Host, driver: str, found: Known[str] | None) -> None:
    """Variants of vfio-pci count; where no function has one, no process is read."""
    for number in range(3):
        host.bind(number, driver)
    host.process(4711, "qemu-system-x86", f"/dev/vfio/{host.group(0)}")
    users = vfio_users.users(host.vfs, host.root, host.proc)
    assert users.get(host.vfs[0].address) == found


def hide(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's process, which has a group open."""
    folder = host.process(99, "qemu-system-x86", f"/dev/vfio/{host.group(0)}")
    real = os.listdir

    def listdir(path: str) -> list[str]:
        if path == str(folder):
            raise PermissionError
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)


def test_processes_of_others(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may not be read makes it unknown; the kernel's count of users decides."""
    hide(host, monkeypatch)
    (first, *_) = host.users()
    assert isinstance(first, Unknown)
    assert first.hint == "run it as root"
    for number, enabled in enumerate((1, 0)):
        (host.folder(number) / "enable").write_text(f"{enabled}\n")
    unseen = Present("a process that is not visible here, which has it open by VFIO")
    assert host.users() == [unseen, Absent(), first]


def test_hidden_processes(host: Host) -> None:
    """Where process 1 is not listed, others may be hidden too."""
    (host.proc / "1").rename(host.proc / "2")
    assert all(isinstance(user, Unknown) for user in host.users())


def test_processes_that_end(host: Host) -> None:
    """One that ends while it is read, and a file that is closed meanwhile, are passed over."""
    folder = host.process(5, "qemu-system-x86", "/dev/vfio/1")
    (folder / "0").unlink()
    (folder / "0").write_text("")  # no link any more
    (host.proc / "6").mkdir()
    assert host.users() == [Absent()] * 3
