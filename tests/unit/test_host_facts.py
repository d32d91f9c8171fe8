import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from smartvif.host import sriov, sysfs
from smartvif.host.sriov import EswitchMode
from smartvif.model.errors import NotFound
from smartvif.model.pci import PciAddress
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import write_sysfs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tree of a card with two PFs of four VFs."""
    write_sysfs(nic.NicLayout(pfs=2, vfs=4), tmp_path / "sys")
    return tmp_path / "sys"


def folder(root: Path, address: PciAddress) -> Path:
    """The real directory of a PCI function."""
    return (root / "bus/pci/devices" / str(address)).resolve()


def test_all_of_a_card(root: Path) -> None:
    """Every PF and VF is read with what the card has."""
    first, second = sriov.pfs(root)
    assert (first.address, second.address) == (nic.pf_address(0), nic.pf_address(1))
    assert second.vfs[3] == sriov.Vf(
        address=nic.vf_address(1, 3),
        pf=nic.pf_address(1),
        number=3,
        vendor="fff0",
        device="5356",
        driver="smartvif_sim_vf",
        iommu_group=9,
        numa_node=1,
        netdev="p1v3",
        simulated=True,
    )
    assert [vf.number for vf in first.vfs] == [0, 1, 2, 3]
    assert (second.netdev, second.switch_id) == ("p1", "0253560000000100")
    assert (second.total_vfs, second.num_vfs, second.numa_node) == (256, 4, 1)
    assert (second.driver, second.simulated) == ("smartvif_sim_pf", True)
    assert second.eswitch is EswitchMode.SWITCHDEV


def test_one_vf_is_as_all(root: Path) -> None:
    """A VF read alone is the same as the one read with all others."""
    for pf in sriov.pfs(root):
        assert tuple(sriov.vf(vf.address, root) for vf in pf.vfs) == pf.vfs


def test_numbers_without_offset(root: Path) -> None:
    """Where the kernel does not show offset and stride, the links give the number."""
    for name in ("sriov_offset", "sriov_stride"):
        (folder(root, nic.pf_address(1)) / name).unlink()
    assert sriov.vf(nic.vf_address(1, 2), root).number == 2


def test_wrong_offset(root: Path) -> None:
    """An offset that leads to another VF is not believed."""
    pf = folder(root, nic.pf_address(0))
    (pf / "sriov_offset").write_text(f"{int((pf / 'sriov_offset').read_text()) + 1}\n")
    assert sriov.vf(nic.vf_address(0, 2), root).number == 2


def test_one_vf_does_not_read_all_links(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of one VF does not grow with their number: only its own virtfn link is read."""
    read, real = [], os.readlink

    def readlink(path: str) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(os, "readlink", readlink)
    sriov.vf(nic.vf_address(0, 2), root)
    assert [path[-7:] for path in read if "virtfn" in path] == ["virtfn2"]


def test_no_such_vf(root: Path) -> None:
    """An address where nothing is, and one where no VF is, are not found, each with its reason."""
    with pytest.raises(NotFound, match="no such PCI device") as nothing:
        sriov.vf(nic.vf_address(0, 4), root)
    assert nothing.value.hint
    with pytest.raises(NotFound, match="not a virtual function"):
        sriov.vf(nic.pf_address(0), root)


def test_vanished_vf(root: Path) -> None:
    """A VF that goes while it is read is left out; its neighbours are not."""
    shutil.rmtree(folder(root, nic.vf_address(0, 1)))
    (folder(root, nic.pf_address(0)) / "virtfn2").unlink()
    assert [vf.number for vf in sriov.pfs(root)[0].vfs] == [0, 3]
    with pytest.raises(NotFound):
        sriov.vf(nic.vf_address(0, 1), root)


def test_vanishing_between_two_reads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VF that goes between the reads of its vendor and its device is left out."""
    real, gone = sysfs.read, folder(root, nic.vf_address(0, 1))

    def read(path: str) -> str | None:
        text = real(path)
        if path.endswith(f"{nic.vf_address(0, 1)}/vendor"):
            shutil.rmtree(gone)
        return text

    monkeypatch.setattr(sysfs, "read", read)
    assert [vf.number for vf in sriov.pfs(root)[0].vfs] == [0, 2, 3]


def test_pf_without_netdev(root: Path) -> None:
    """A PF whose interfaces are in another namespace has none, and an unknown mode."""
    shutil.rmtree(folder(root, nic.pf_address(0)) / "net")
    pf = sriov.pfs(root)[0]
    assert (pf.netdev, pf.switch_id, pf.eswitch) == (None, None, EswitchMode.UNKNOWN)


def test_legacy_mode(root: Path) -> None:
    """A PF whose interface names no switch is in legacy mode."""
    net = folder(root, nic.pf_address(0)) / "net"
    for netdev in net.iterdir():
        if netdev.name == "p0":
            (netdev / "phys_switch_id").unlink()
        else:
            shutil.rmtree(netdev)
    pf = sriov.pfs(root)[0]
    assert (pf.netdev, pf.switch_id, pf.eswitch) == ("p0", None, EswitchMode.LEGACY)


def test_uplink_among_representors(root: Path) -> None:
    """The PF's interface is the uplink, also where its name sorts behind all others'."""
    net = folder(root, nic.pf_address(0)) / "net"
    (net / "p0").rename(net / "zz")
    (net / "zy").mkdir()
    (net / "zy/phys_port_name").write_text("n0\n")
    assert sriov.pfs(root)[0].netdev == "zz"
    shutil.rmtree(net / "zz")
    assert sriov.pfs(root)[0].netdev == "zy"


def test_vf_of_a_guest(root: Path) -> None:
    """A VF that vfio-pci has is shown so, without an interface, and its card is still simulated."""
    vf = folder(root, nic.vf_address(0, 0))
    shutil.rmtree(vf / "net")
    (vf / "driver").unlink()
    (vf / "driver").symlink_to("../../../bus/pci/drivers/vfio-pci")
    (vf / "iommu_group").unlink()
    (vf / "numa_node").write_text("-1\n")
    found = sriov.vf(nic.vf_address(0, 0), root)
    assert (found.driver, found.netdev, found.simulated) == ("vfio-pci", None, True)
    assert (found.iommu_group, found.numa_node) == (None, None)


def test_real_card(root: Path) -> None:
    """A card is simulated by its PF's driver and by nothing else."""
    pf = folder(root, nic.pf_address(0))
    (pf / "driver").unlink()
    (pf / "driver").symlink_to("../../../bus/pci/drivers/mlx5_core")
    assert [found.simulated for found in sriov.pfs(root)] == [False, True]
    assert not sriov.pfs(root)[0].vfs[0].simulated
    assert not sriov.vf(nic.vf_address(0, 0), root).simulated


def test_other_devices(root: Path) -> None:
    """A disk with VFs and a function that is no PF are no PFs of ours."""
    (folder(root, nic.pf_address(0)) / "class").write_text("0x010802\n")
    (folder(root, nic.pf_address(1)) / "sriov_totalvfs").unlink()
    assert sriov.pfs(root) == ()


def test_no_pci(tmp_path: Path) -> None:
    """A host without a PCI bus has no PFs."""
    assert sriov.pfs(tmp_path) == ()


def test_many_vfs_are_read_soon() -> None:
    """1024 VFs are read in well below a second."""
    # In memory, as /sys is: 40 000 small files are too many for a busy disk.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        write_sysfs(nic.NicLayout(pfs=4, vfs=256), Path(folder))
        start = time.process_time()
        found = sriov.pfs(Path(folder))
        assert time.process_time() - start < 0.8
        assert sum(len(pf.vfs) for pf in found) == 1024
