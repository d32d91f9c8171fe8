"""Bonds that a card shares its VFs over, and those that it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from smartvif.host import bond, capabilities, sriov
from smartvif.host.bond import Bond
from smartvif.host.sriov import EswitchMode, Pf
from smartvif.model.pci import PciAddress
from smartvif.model.traits import VF_LAG
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import write_sysfs

TWO = Bond(name="bond0", mode="802.3ad", ports=("p0", "p1"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tree of a card with three PFs of one VF, the first two of which are in a bond."""
    write_sysfs(nic.NicLayout(pfs=3, vfs=1), tmp_path / "sys")
    put_into_bond(tmp_path / "sys", "802.3ad 4", "p0", "p1")
    return tmp_path / "sys"


def put_into_bond(root: Path, mode: str, *ports: str) -> None:
    """Put interfaces into bond0, as the kernel shows it (Documentation/networking/bonding.rst)."""
    folder = root / "devices/virtual/net/bond0/bonding"
    folder.mkdir(parents=True)
    (folder / "mode").write_text(f"{mode}\n")
    (folder / "slaves").write_text(f"{' '.join(ports)}\n")
    (root / "class/net/bond0").symlink_to("../../devices/virtual/net/bond0")
    for port in ports:
        target = "../../../../virtual/net/bond0"
        (root / "class/net" / port).resolve().joinpath("master").symlink_to(target)


def changed(pfs: Sequence[Pf], index: int, **fields: object) -> list[Pf]:
    """The same PFs, of which one is otherwise."""
    found = list(pfs)
    found[index] = dataclasses.replace(found[index], **fields)  # type: ignore[arg-type]
    return found


def test_reading(root: Path) -> None:
    """A port's bond is read with its mode and all of its ports; others are in none."""
    assert bond.of("p0", root) == bond.of("p1", root) == TWO
    assert bond.of("p2", root) is None
    assert bond.of("no-such-link", root) is None


def test_a_master_that_is_no_bond(root: Path) -> None:
    """A bridge is the master of its ports too, and is no bond."""
    (root / "devices/virtual/net/br0").mkdir()
    (root / "class/net/br0").symlink_to("../../devices/virtual/net/br0")
    (root / "class/net/p2").resolve().joinpath("master").symlink_to("../../../../virtual/net/br0")
    assert bond.of("p2", root) is None


def test_a_bond_that_loses_its_ports(root: Path) -> None:
    """A bond whose list of ports is empty by now has none."""
    (root / "devices/virtual/net/bond0/bonding/slaves").write_text("\n")
    found = bond.of("p0", root)
    assert found is not None
    assert found.ports == ()


@pytest.mark.parametrize("mode", ["active-backup", "balance-xor", "802.3ad"])
def test_modes_that_are_shared(root: Path, mode: str) -> None:
    """A card shares its VFs over a bond in which one port sends a flow."""
    assert bond.lag_problem(dataclasses.replace(TWO, mode=mode), sriov.pfs(root)) is None


@pytest.mark.parametrize("mode", ["balance-rr", "broadcast", "balance-tlb", "balance-alb"])
def test_modes_that_are_not_shared(root: Path, mode: str) -> None:
    """In any other mode it does not, and the reason names the mode."""
    problem = bond.lag_problem(dataclasses.replace(TWO, mode=mode), sriov.pfs(root))
    assert problem is not None
    assert mode in problem


def test_ports_of_two_cards(root: Path) -> None:
    """Two cards have no common switch; one card in two slots has, and shows it."""
    elsewhere = PciAddress(0, 0x81, 0, 1)
    two = changed(sriov.pfs(root), 1, address=elsewhere)
    assert "two cards" in (bond.lag_problem(TWO, two) or "")
    assert bond.lag_problem(TWO, changed(two, 1, switch_id=two[0].switch_id)) is None
    unsaid = changed(changed(two, 0, switch_id=None), 1, switch_id=None)
    assert "two cards" in (bond.lag_problem(TWO, unsaid) or "")


@pytest.mark.parametrize("mode", [EswitchMode.LEGACY, EswitchMode.UNKNOWN])
@pytest.mark.parametrize("index", [0, 1])
def test_a_port_that_is_not_in_switchdev_mode(root: Path, index: int, mode: EswitchMode) -> None:
    """Every port's switch must be in switchdev mode; the reason names the one that is not."""
    problem = bond.lag_problem(TWO, changed(sriov.pfs(root), index, eswitch=mode))
    assert problem is not None
    assert f"p{index}," in problem
    assert mode in problem


def test_a_port_that_is_no_uplink(root: Path) -> None:
    """A bond with a strange port, like another card without SR-IOV, is not the card's."""
    strange = dataclasses.replace(TWO, ports=("p0", "eth7", "p1"))
    assert "eth7" in (bond.lag_problem(strange, sriov.pfs(root)) or "")


def test_a_bond_of_one(root: Path) -> None:
    """A bond with one port shares nothing."""
    assert bond.lag_problem(dataclasses.replace(TWO, ports=("p0",)), sriov.pfs(root)) is not None


def test_the_capability(root: Path) -> None:
    """VFs of a shared bond have the trait, others do not; without all PFs nobody can tell."""
    pfs = sriov.pfs(root)
    first, second, third = (capabilities.capabilities(pf, root, pfs=pfs) for pf in pfs)
    assert VF_LAG in first.traits & second.traits
    assert VF_LAG not in third.traits | third.unknown
    assert VF_LAG in capabilities.capabilities(pfs[0], root).unknown
    legacy = changed(pfs, 1, eswitch=EswitchMode.LEGACY)
    found = capabilities.capabilities(pfs[0], root, pfs=legacy)
    assert VF_LAG not in found.traits | found.unknown
