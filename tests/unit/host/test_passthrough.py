"""Who else is concerned when a guest gets a function, where vDPA devices are, and the sockets."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from smartvif.host import netdev, numa, passthrough, sriov, vdpa
from smartvif.host.sriov import Vf
from smartvif.model.pci import PciAddress
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import VFIO_DRIVER, write_sysfs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tree of a card with three PFs of two VFs."""
    write_sysfs(nic.NicLayout(pfs=3, vfs=2), tmp_path / "sys")
    return tmp_path / "sys"


def folder(root: Path, address: PciAddress) -> Path:
    """The real directory of a PCI function."""
    return (root / "bus/pci/devices" / str(address)).resolve()


def bind(root: Path, address: PciAddress, driver: str) -> None:
    """Let a function have another driver."""
    link = folder(root, address) / "driver"
    link.unlink()
    link.symlink_to(f"../../../bus/pci/drivers/{driver}")


def test_siblings(root: Path) -> None:
    """The other PFs of the card that guests may have are found, and never the PF itself."""
    first, second, third = sriov.pfs(root)
    assert passthrough.passed_through_siblings(first, root) == ()
    for pf in (second, third):
        bind(root, pf.address, VFIO_DRIVER)
    assert passthrough.passed_through_siblings(first, root) == (second.address, third.address)
    assert passthrough.passed_through_siblings(third, root) == (second.address,)


def test_what_is_no_sibling(root: Path) -> None:
    """A VF in the PF's slot, a function that is no network card, and another card do not count."""
    first, second, third = sriov.pfs(root)
    for pf in (second, third):
        bind(root, pf.address, VFIO_DRIVER)
    (folder(root, second.address) / "physfn").symlink_to(f"../{first.address}")
    (folder(root, third.address) / "class").write_text("0x010802\n")
    bind(root, nic.vf_address(0, 1), VFIO_DRIVER)
    assert passthrough.passed_through_siblings(first, root) == ()


def share(root: Path, vf: Vf, *names: str) -> None:
    """Put devices into the IOMMU group of a VF."""
    for name in names:
        target = f"../../../../devices/pci0000:00/{name}"
        os.symlink(target, root / f"kernel/iommu_groups/{vf.iommu_group}/devices" / name)


def test_groups(root: Path) -> None:
    """A VF alone in its group shares it with nobody; others in it are named in order."""
    vf = sriov.pfs(root)[0].vfs[0]
    assert passthrough.shares_group(vf, root) == ()
    others = nic.vf_address(0, 1), nic.pf_address(0)
    share(root, vf, *map(str, others))
    assert passthrough.shares_group(vf, root) == tuple(sorted(others))
    assert passthrough.shares_group(dataclasses.replace(vf, iommu_group=None), root) == ()


def test_why_not_by_passthrough(root: Path) -> None:
    """What is missing for it is told: an IOMMU, or a group of its own."""
    vf, other = sriov.pfs(root)[0].vfs
    assert passthrough.no_passthrough(vf, root) is None
    without = dataclasses.replace(vf, iommu_group=None)
    assert passthrough.no_passthrough(without, root) == (
        "it is in no IOMMU group: is the IOMMU on? (intel_iommu=on)"
    )
    share(root, vf, str(other.address))
    shares = f"it shares IOMMU group {vf.iommu_group} with {other.address}"
    assert passthrough.no_passthrough(vf, root) == f"{shares}, and a guest gets all or none"
    share(root, vf, str(nic.vf_address(1, 0)))
    assert passthrough.no_passthrough(vf, root) == (
        f"{shares} and 1 more, and a guest gets all or none"
    )


def test_what_does_not_share_a_group(root: Path) -> None:
    """A bridge in the group is not given to a guest with it, nor is what is not on PCI."""
    vf = sriov.pfs(root)[0].vfs[0]
    bridge = nic.pf_address(2)
    (folder(root, bridge) / "class").write_text("0x060400\n")
    share(root, vf, str(bridge), "arm-smmu-v3.0.auto")
    assert passthrough.shares_group(vf, root) == ()


def test_vdpa(root: Path) -> None:
    """A VF with a vDPA device of any name is found; that of an SF is not taken for its PF's."""
    assert vdpa.functions(root) == frozenset()
    bus = root / "bus/vdpa/devices"
    bus.mkdir(parents=True)
    below = "../../../devices/pci0000:00"
    (bus / "for-vm7").symlink_to(f"{below}/{nic.vf_address(0, 1)}/for-vm7")
    (bus / "vdpa1").symlink_to(f"{below}/{nic.pf_address(0)}/mlx5_core.sf.4/vdpa1")
    (bus / "vdpasim0").symlink_to("../../../devices/vdpasim/vdpasim0")
    assert vdpa.functions(root) == {nic.vf_address(0, 1)}


def test_sockets(root: Path) -> None:
    """Each node has its socket; two nodes may be in one, and one without processors is in none."""
    for node, cpus in {0: "0-1", 1: "2-3", 2: "4,6", 3: "", 4: "8"}.items():
        (root / f"devices/system/node/node{node}").mkdir(parents=True)
        (root / f"devices/system/node/node{node}/cpulist").write_text(f"{cpus}\n")
    for cpu, socket in {0: 0, 1: 9, 2: 0, 4: 1, 6: 9, 8: -1}.items():
        topology = root / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{socket}\n")
    assert numa.sockets(root) == {0: 0, 1: 0, 2: 1}
    assert numa.sockets(root / "nowhere") == {}


def test_above(root: Path) -> None:
    """What the kernel has on top of a netdev is told, and of Open vSwitch not as a bridge."""
    assert netdev.above("p0r0", root) == ()
    for name in ("br-ext", "ovs-system", "mv0"):
        (root / "class/net/p0r0" / f"upper_{name}").symlink_to(f"../{name}")
    (root / "class/net/br-ext/bridge/stp_state").parent.mkdir(parents=True)
    (root / "class/net/br-ext/bridge/stp_state").write_text("0\n")
    assert netdev.above("p0r0", root) == ("bridge br-ext", "mv0", "Open vSwitch")
