import os
from pathlib import Path

import pytest

from smartvif.host import sriov
from smartvif.host.sriov import EswitchMode
from smartvif.model import checks
from smartvif.model.errors import Failed, Invalid
from smartvif.model.pci import PciAddress
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import switch_id, write_sysfs

LARGEST = nic.NicLayout(pfs=8, vfs=256)


def netdevs(layout: nic.NicLayout) -> list[str]:
    """Every interface of a card."""
    ends = [(nic.vf_netdev(*key), nic.representor(*key)) for key in layout.functions()]
    wires = [(nic.uplink(pf), nic.wire(pf)) for pf in range(layout.pfs)]
    return [name for pair in ends + wires for name in pair]


@pytest.mark.parametrize(("pfs", "vfs"), [(1, 0), (1, 8), (4, 256), (8, 256)])
def test_parse(pfs: int, vfs: int) -> None:
    """A layout is read as it is written."""
    assert nic.NicLayout.parse(f"{pfs}x{vfs}") == nic.NicLayout(pfs=pfs, vfs=vfs)


def test_legacy_mode() -> None:
    """The last PFs of a layout can be in legacy mode."""
    layout = nic.NicLayout.parse("3x2,legacy=2")
    assert layout == nic.NicLayout(pfs=3, vfs=2, legacy=2)
    assert [layout.is_legacy(pf) for pf in range(3)] == [False, True, True]
    assert not nic.NicLayout.parse("1x2").is_legacy(0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "4", "x", "0x4", "9x1", "1x257", "1x2x3", "1x-1", "1x8\n"),
        *("2x2,legacy=3", "2x2,legacy", "2x2,legacy=-1", "2x2,modern=1", "2x2,"),
    ],
)
def test_no_layout(text: str) -> None:
    """What no card can be is refused."""
    with pytest.raises(Invalid):
        nic.NicLayout.parse(text)


def test_addresses() -> None:
    """PFs are functions of one slot, and VFs are counted through the bus of their PF."""
    assert str(nic.pf_address(7)) == "0000:03:00.7"
    assert str(nic.vf_address(0, 0)) == "0000:04:00.0"
    assert str(nic.vf_address(1, 11)) == "0000:05:01.3"
    assert str(nic.vf_address(7, 255)) == "0000:0b:1f.7"
    addresses = {nic.vf_address(*key) for key in LARGEST.functions()}
    assert len(addresses) == 2048
    assert all(PciAddress.parse(str(address)) == address for address in addresses)


def test_names_and_macs() -> None:
    """Every interface of the largest card has a fit name and a MAC address of its own."""
    names = netdevs(LARGEST)
    macs = {nic.mac(checks.ifname(name)) for name in names}
    assert len(macs) == len(names) == 2 * 2048 + 16
    assert all(checks.mac(mac) == mac and int(mac[:2], 16) & 2 for mac in macs)


def test_mac_of_a_stranger() -> None:
    """An interface that is not the card's has no MAC address from it."""
    with pytest.raises(Invalid):
        nic.mac("eth0")


def test_no_vendor_has_the_number() -> None:
    """The card has a vendor number that the list of all vendors does not know."""
    names = Path("/usr/share/misc/pci.ids")
    if not names.exists():
        pytest.skip("no pci.ids on this machine")
    assert "\nfff0 " not in names.read_text()


def test_one_switch_for_each_pf() -> None:
    """Each PF is a switch of its own."""
    assert len({switch_id(pf) for pf in range(8)}) == 8


def test_links(tmp_path: Path) -> None:
    """Every link of the tree is relative and leads to something inside it."""
    write_sysfs(nic.NicLayout(pfs=2, vfs=3), tmp_path)
    links = [
        Path(folder, name)
        for folder, subfolders, files in os.walk(tmp_path)
        for name in subfolders + files
        if Path(folder, name).is_symlink()
    ]
    assert len(links) > 100
    for link in links:
        assert not link.readlink().is_absolute(), link
        assert link.resolve(strict=True).is_relative_to(tmp_path), link


def test_tree_as_the_kernel_has_it(tmp_path: Path) -> None:
    """The links between a VF, its PF, interface, driver, and group lead to each other."""
    write_sysfs(nic.NicLayout(pfs=2, vfs=3), tmp_path)
    devices = tmp_path / "bus/pci/devices"
    pf, vf = devices / "0000:03:00.1", devices / "0000:05:00.2"
    assert (vf / "physfn").samefile(pf)
    assert (pf / "virtfn2").samefile(vf)
    assert os.readlink(vf / "physfn") == "../0000:03:00.1"
    assert (vf / "net/p1v2/device").samefile(vf)
    assert (pf / "net/p1r2/device").samefile(pf)
    assert (pf / "net/p1/subsystem").samefile(tmp_path / "class/net")
    assert (tmp_path / "class/net/p1r2").samefile(pf / "net/p1r2")
    assert (tmp_path / "bus/pci/drivers/smartvif_sim_vf/0000:05:00.2").samefile(vf)
    assert (vf / "iommu_group/devices/0000:05:00.2").samefile(vf)
    assert (tmp_path / "bus/pci/drivers/vfio-pci").is_dir()
    assert (pf / "net/p1r2/phys_port_name").read_text() == "pf1vf2\n"
    assert (pf / "sriov_numvfs").read_text() == "3\n"
    assert sorted(os.listdir(tmp_path / "class/net"))[0] == "lo"


def test_ifindexes_differ(tmp_path: Path) -> None:
    """No two interfaces of the tree have the same ifindex."""
    write_sysfs(nic.NicLayout(pfs=2, vfs=3), tmp_path)
    numbers = [path.read_text() for path in tmp_path.glob("class/net/*/ifindex")]
    assert len(numbers) == len(set(numbers)) == 1 + 2 + 2 * 2 * 3


def test_directory_in_use(tmp_path: Path) -> None:
    """A directory with something in it is left alone."""
    (tmp_path / "mine").touch()
    with pytest.raises(Failed, match="not empty"):
        write_sysfs(nic.NicLayout(pfs=1, vfs=1), tmp_path)
    assert os.listdir(tmp_path) == ["mine"]


def test_directory_that_cannot_be(tmp_path: Path) -> None:
    """What the system says of a directory that cannot be made is passed on."""
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match="Not a directory"):
        write_sysfs(nic.NicLayout(pfs=1, vfs=1), tmp_path / "file/sys")


def test_tree_of_legacy_mode(tmp_path: Path) -> None:
    """A PF in legacy mode shows no switch and no representors; its VFs are as any."""
    write_sysfs(nic.NicLayout(pfs=2, vfs=2, legacy=1), tmp_path)
    modern, legacy = sriov.pfs(tmp_path)
    assert (modern.eswitch, legacy.eswitch) == (EswitchMode.SWITCHDEV, EswitchMode.LEGACY)
    assert [vf.netdev for vf in legacy.vfs] == ["p1v0", "p1v1"]
    shown = sorted(path.name for path in (tmp_path / "class/net").iterdir())
    assert shown == ["lo", "p0", "p0r0", "p0r1", "p0v0", "p0v1", "p1", "p1v0", "p1v1"]
