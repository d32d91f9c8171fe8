import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from smartvif.host import sriov
from smartvif.host.devlink import DevlinkPort
from smartvif.host.port_name import PortKind, PortName
from smartvif.host.representors import Representor, Representors
from smartvif.model.errors import Ambiguous, NotFound
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import switch_id, write_sysfs


class Host:
    """A tree of two PFs with four VFs each, and the edits that make the hard cases."""

    def __init__(self, root: Path) -> None:
        write_sysfs(nic.NicLayout(pfs=2, vfs=4), root)
        self.root = root
        self.vfs = {(vf.pf.function, vf.number): vf for pf in sriov.pfs(root) for vf in pf.vfs}
        self.representors = Representors(root)

    def netdev(self, name: str) -> Path:
        """The real directory of an interface."""
        return (self.root / "class/net" / name).resolve()

    def edit(self, name: str, **attributes: str) -> None:
        """Write attributes of an interface."""
        for attribute, text in attributes.items():
            (self.netdev(name) / attribute).write_text(f"{text}\n")

    def remove(self, name: str) -> None:
        """Take an interface away."""
        shutil.rmtree(self.netdev(name))
        (self.root / "class/net" / name).unlink()

    def add(self, name: str, switch: str, port: str, *, pf: int | None = None) -> None:
        """An interface of the switch that hangs below a PF or below no device."""
        folder = self.root / "devices/virtual/net" / name
        folder.mkdir()
        (self.root / "class/net" / name).symlink_to(f"../../devices/virtual/net/{name}")
        self.edit(name, phys_switch_id=switch, phys_port_name=port)
        if pf is not None:
            (folder / "device").symlink_to(f"../../../pci0000:00/{nic.pf_address(pf)}")

    def one_switch(self, *, below_pfs: bool = True) -> None:
        """Have both PFs on the first one's switch, with representors below no device if wished."""
        for name in ["p1", *(nic.representor(1, vf) for vf in range(4))]:
            self.edit(name, phys_switch_id=switch_id(0))
        if not below_pfs:
            for pf, vf in self.vfs:
                (self.netdev(nic.representor(pf, vf)) / "device").unlink()

    def found(self, pf: int, vf: int) -> str:
        """The interface that is found for a VF."""
        return self.representors.find(self.vfs[pf, vf]).netdev


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with a simulated card."""
    return Host(tmp_path / "sys")


def test_every_vf(host: Host) -> None:
    """Every VF has its own representor."""
    assert host.representors.find(host.vfs[1, 3]) == Representor(
        netdev="p1r3",
        switch_id=switch_id(1),
        name=PortName(kind=PortKind.VF, pf=1, number=3),
    )
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)


def test_other_host(host: Host) -> None:
    """VF 3 of another host on the same switch is never the local VF 3."""
    host.add("aa", switch_id(0), "c1pf0vf3")
    assert host.found(0, 3) == "p0r3"
    host.remove("p0r3")
    with pytest.raises(NotFound):
        host.found(0, 3)


@pytest.mark.parametrize("below_pfs", [True, False])
def test_two_pfs_on_one_switch(host: Host, below_pfs: bool) -> None:
    """Two PFs on one switch are distinguished by their numbers."""
    host.one_switch(below_pfs=below_pfs)
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)


@pytest.mark.parametrize("below_pfs", [True, False])
def test_pf_number_is_not_its_function(host: Host, below_pfs: bool) -> None:
    """PF numbers are those of the ports, also where the PCI functions are the other way round."""
    host.one_switch(below_pfs=below_pfs)
    for pf in (0, 1):
        host.edit(f"p{pf}", phys_port_name=f"p{1 - pf}")
        for vf in range(4):
            host.edit(f"p{pf}r{vf}", phys_port_name=f"pf{1 - pf}vf{vf}")
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)


def test_ports_know_the_pf_number(host: Host) -> None:
    """Where uplinks and functions both mislead, the ports below a PF say its number.

    Those of other hosts have no say.
    """
    host.one_switch()
    for pf, vf in host.vfs:
        host.edit(nic.representor(pf, vf), phys_port_name=f"pf{1 - pf}vf{vf}")
    for pf in (0, 1):
        host.add(f"far{pf}", switch_id(0), f"c1pf{pf}vf0", pf=pf)
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)


def test_two_pfs_on_one_wire(host: Host) -> None:
    """Two PFs with the same uplink number are distinguished by their functions."""
    host.one_switch(below_pfs=False)
    host.edit("p1", phys_port_name="p0")
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)


def test_number_of_a_neighbour(host: Host) -> None:
    """A PF whose uplink has its neighbour's number does not get its neighbour's representors."""
    host.one_switch()
    host.edit("p1", phys_port_name="p0")
    for vf in range(4):
        host.remove(f"p1r{vf}")
    with pytest.raises(NotFound):
        host.found(1, 3)
    assert host.found(0, 3) == "p0r3"


def test_bare_numbers(host: Host) -> None:
    """Bare numbers of an old kernel are enough where the PF is plain."""
    for pf, vf in host.vfs:
        host.edit(nic.representor(pf, vf), phys_port_name=str(vf))
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)
    host.one_switch()
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)
    assert host.representors.find(host.vfs[0, 3]).name == PortName(kind=PortKind.VF, number=3)


@pytest.mark.parametrize("wire", [0, 1])
def test_names_of_the_wire(host: Host, wire: int) -> None:
    """ice's own names say the VF and the wire: the PF is the one above the port."""
    host.one_switch()
    for pf, vf in host.vfs:
        host.edit(nic.representor(pf, vf), phys_port_name=f"pf{wire}vfr{vf}")
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)


def test_names_of_the_wire_below_no_device(host: Host) -> None:
    """They are enough below no device where the switch has one PF, and not where it has two."""
    for pf, vf in host.vfs:
        host.edit(nic.representor(pf, vf), phys_port_name=f"pf0vfr{vf}")
        (host.netdev(nic.representor(pf, vf)) / "device").unlink()
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)
    host.one_switch()
    host.representors = Representors(host.root)
    with pytest.raises(Ambiguous, match="its PF is not known"):
        host.found(1, 3)


def test_bare_numbers_below_no_device(host: Host) -> None:
    """A bare number below no device is enough on a switch with one PF, and not on one with two."""
    for pf, vf in host.vfs:
        host.edit(nic.representor(pf, vf), phys_port_name=str(vf))
        (host.netdev(nic.representor(pf, vf)) / "device").unlink()
    assert all(host.found(pf, vf) == nic.representor(pf, vf) for pf, vf in host.vfs)
    host.one_switch()
    host.representors = Representors(host.root)
    for _ in range(2):
        with pytest.raises(Ambiguous, match="its PF is not known"):
            host.found(0, 3)


def test_two_claims(host: Host) -> None:
    """Two interfaces that claim one VF are an error that names both."""
    host.add("aa", switch_id(0), "VF3@PF0")
    with pytest.raises(Ambiguous, match="aa and p0r3"):
        host.found(0, 3)
    assert host.found(0, 2) == "p0r2"


def test_legacy_mode(host: Host) -> None:
    """A PF in legacy mode has no representors; the remedy is in the hint."""
    for vf in range(4):
        host.remove(f"p0r{vf}")
    (host.netdev("p0") / "phys_switch_id").unlink()
    with pytest.raises(NotFound) as error:
        host.found(0, 3)
    assert error.value.hint.endswith("devlink dev eswitch set pci/0000:03:00.0 mode switchdev")


@pytest.mark.parametrize(
    ("driver", "what", "hint"),
    [
        ("vfio-pci", "is bound to vfio-pci, so", "driverctl unset-override 0000:03:00.0"),
        ("igb_uio", "is bound to igb_uio, so", "driverctl unset-override 0000:03:00.0"),
        (None, "has no driver, so", "drivers_probe"),
        ("mlx5_core", "its netdev is in another network namespace", "ip -all netns"),
    ],
)
def test_no_driver_for_the_switch(host: Host, driver: str | None, what: str, hint: str) -> None:
    """Where no netdev of a PF is here, what its driver says of it is the reason, and no devlink."""
    for name in ("p0", *(nic.representor(0, vf) for vf in range(4))):
        host.remove(name)
    link = (host.root / "bus/pci/devices" / str(nic.pf_address(0))).resolve() / "driver"
    link.unlink()
    if driver is not None:
        link.symlink_to(f"../../../bus/pci/drivers/{driver}")
    with pytest.raises(NotFound, match=f"PF 0000:03:00.0 .*{what}") as error:
        host.found(0, 3)
    assert hint in error.value.hint
    assert "devlink" not in error.value.hint


def test_uplink_elsewhere(host: Host) -> None:
    """A PF whose uplink is in another namespace still has its representors."""
    host.remove("p1")
    assert host.found(1, 3) == "p1r3"


def test_missing_representor(host: Host) -> None:
    """A VF without representor is not found; the hint names the PF's number of VFs."""
    host.remove("p0r3")
    with pytest.raises(NotFound) as error:
        host.found(0, 3)
    assert "sriov_numvfs of 0000:03:00.0" in error.value.hint


def test_sf_is_no_vf(host: Host) -> None:
    """The port of SF 3 is not the port of VF 3."""
    host.edit("p0r3", phys_port_name="pf0sf3")
    with pytest.raises(NotFound):
        host.found(0, 3)


def test_changes_after_the_first_look(host: Host) -> None:
    """What is renamed, swapped, or new since the last look is found as it is now."""
    assert host.found(0, 3) == "p0r3"
    (host.root / "class/net/p0r3").rename(host.root / "class/net/eth7")
    assert host.found(0, 3) == "eth7"
    host.edit("eth7", phys_port_name="pf0vf2")
    host.edit("p0r2", phys_port_name="pf0vf3")
    assert (host.found(0, 3), host.found(0, 2)) == ("p0r2", "eth7")
    host.remove("eth7")
    with pytest.raises(NotFound):
        host.found(0, 2)
    host.add("late", switch_id(0), "pf0vf2")
    assert host.found(0, 2) == "late"


def test_devlink_goes_first(host: Host) -> None:
    """Where devlink has a port for an interface, phys_port_name is not asked."""

    def port(netdev: str, number: int) -> DevlinkPort:
        name = PortName(kind=PortKind.VF, pf=0, number=number)
        return DevlinkPort(netdev=netdev, device=str(nic.pf_address(0)), name=name)

    host.representors = Representors(host.root, lambda: [port("p0r2", 3), port("p0r3", 2)])
    assert (host.found(0, 3), host.found(0, 2), host.found(0, 1)) == ("p0r2", "p0r3", "p0r1")


def test_many_threads(host: Host) -> None:
    """Threads that look while interfaces come and go get the right one or none, never another."""
    wrong: list[str] = []
    end = threading.Event()

    def look(pf: int, vf: int) -> None:
        while not end.is_set():
            try:
                if host.found(pf, vf) != nic.representor(pf, vf):
                    wrong.append(nic.representor(pf, vf))
            except NotFound:
                if (pf, vf) != (0, 3):
                    wrong.append(f"no {nic.representor(pf, vf)}")

    threads = [threading.Thread(target=look, args=key) for key in host.vfs]
    for thread in threads:
        thread.start()
    link = host.root / "class/net/p0r3"
    target = link.readlink()
    for _ in range(30):
        link.unlink()
        time.sleep(0.002)
        link.symlink_to(target)
        time.sleep(0.002)
    end.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_hit_does_not_grow() -> None:
    """Of 1024 VFs one is found in less than 0.2 ms once the index is there."""
    # In memory, as /sys is: 40 000 small files are too many for a busy disk.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder)
        write_sysfs(nic.NicLayout(pfs=4, vfs=256), root)
        representors, vf = Representors(root), sriov.vf(nic.vf_address(2, 200), root)
        assert representors.find(vf).netdev == "p2r200"
        start = time.process_time()
        for _ in range(200):
            representors.find(vf)
        assert (time.process_time() - start) / 200 < 0.0002
