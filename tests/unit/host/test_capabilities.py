"""What the VFs of a PF can do: from trees of sysfs, and from the kernel's answers as bytes."""

from __future__ import annotations

import dataclasses
import shutil
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from smartvif.host import capabilities, devlink, ethtool, sriov, vf_info
from smartvif.host.capabilities import OFFLOADS, TUNNELS, Capabilities, NetlinkReplies
from smartvif.host.netdev import queues, speed
from smartvif.host.sriov import EswitchMode, Pf
from smartvif.host.vf_info import VfReporting
from smartvif.model.pci import PciAddress
from smartvif.model.traits import (
    MULTIQUEUE,
    RATE,
    RDMA,
    SRIOV,
    SWITCHDEV,
    TC,
    TRUSTED,
    VF_LAG,
    VF_MULTIQUEUE,
)
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import write_sysfs

ALL = {SRIOV, SWITCHDEV, TRUSTED, RATE, MULTIQUEUE, VF_MULTIQUEUE, RDMA, TC, VF_LAG}
# What only netlink tells of the card below, whose interfaces sysfs shows.
ASKED = {TRUSTED, RATE, TC, *OFFLOADS, *TUNNELS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tree of a card with two PFs of four VFs."""
    write_sysfs(nic.NicLayout(pfs=2, vfs=4), tmp_path / "sys")
    return tmp_path / "sys"


def netdev(root: Path, name: str) -> Path:
    """The directory of an interface."""
    return (root / "class/net" / name).resolve()


def give_queues(root: Path, name: str, receive: int, send: int) -> None:
    """Let an interface have that many queues, whatever it had."""
    folder = netdev(root, name) / "queues"
    shutil.rmtree(folder, ignore_errors=True)
    for kind, count in (("rx", receive), ("tx", send)):
        for number in range(count):
            (folder / f"{kind}-{number}").mkdir(parents=True)


def answering(**said: object) -> Callable[[Pf, Sequence[str]], NetlinkReplies]:
    """A kernel that says this of every PF."""
    return lambda _pf, _netdevs: NetlinkReplies(**said)  # type: ignore[arg-type]


def features(**active: Iterable[str]) -> Callable[[Pf, Sequence[str]], NetlinkReplies]:
    """A kernel that says these features of these interfaces, and nothing else."""
    return answering(features={name: frozenset(names) for name, names in active.items()})


def probe(
    root: Path, ask: Callable[[Pf, Sequence[str]], NetlinkReplies] | None = None
) -> Capabilities:
    """What the VFs of the first PF can do."""
    pf = sriov.pfs(root)[0]
    return capabilities.capabilities(pf, root, ask=ask)


def test_names() -> None:
    """Every trait is one of os-traits' or begins with CUSTOM_."""
    os_traits = pytest.importorskip("os_traits")
    standard = set(os_traits.get_traits())
    names = ALL | set(OFFLOADS) | set(TUNNELS)
    assert {name for name in names if not name.startswith("CUSTOM_")} <= standard
    assert {TC, VF_LAG} == names - standard


def test_a_tree_that_stands_elsewhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running kernel is not asked about another host's tree: nobody can tell."""
    asked = answering(features={"p0v0": frozenset({"rx-checksum"})})
    monkeypatch.setattr(capabilities, "by_netlink", asked)
    found = probe(root)
    assert found.unknown >= ASKED
    assert {SRIOV, SWITCHDEV} <= found.traits
    assert not found.traits & found.unknown


def test_a_pf_that_does_not_answer(root: Path) -> None:
    """No answer is neither yes nor no, for each thing that is asked."""
    assert probe(root, answering()).unknown >= ASKED


def test_a_pf_without_interfaces(root: Path) -> None:
    """Where there is no interface, nobody is asked, and nobody can tell."""
    pf = dataclasses.replace(sriov.pfs(root)[0], netdev=None, eswitch=EswitchMode.UNKNOWN, vfs=())

    def ask(_pf: Pf, _netdevs: Sequence[str]) -> NetlinkReplies:
        raise AssertionError("nobody is there to answer")

    found = capabilities.capabilities(pf, root, ask=ask)
    assert found.traits == {SRIOV}
    assert found.unknown == (ALL | set(OFFLOADS) | set(TUNNELS)) - {SRIOV}


@pytest.mark.parametrize(
    ("mode", "there"),
    [(EswitchMode.SWITCHDEV, True), (EswitchMode.LEGACY, False), (EswitchMode.UNKNOWN, None)],
)
def test_switchdev(root: Path, mode: EswitchMode, there: bool | None) -> None:
    """VFs of switches in switchdev mode and in legacy mode are distinguished, where it is known."""
    pf = dataclasses.replace(sriov.pfs(root)[0], eswitch=mode)
    found = capabilities.capabilities(pf, root)
    assert (SWITCHDEV in found.traits, SWITCHDEV in found.unknown) == (there is True, there is None)


def test_a_pf_that_can_have_no_vfs(root: Path) -> None:
    """A PF whose firmware lets it have no VFs is no SR-IOV card."""
    pf = dataclasses.replace(sriov.pfs(root)[0], total_vfs=0)
    assert SRIOV not in capabilities.capabilities(pf, root).traits


@pytest.mark.parametrize("trait", OFFLOADS)
def test_an_offload(root: Path, trait: str) -> None:
    """A trait is there by each of its features alone, and is not where none of them is active."""
    for feature in OFFLOADS[trait]:
        assert trait in probe(root, features(p0v0={feature})).traits
    found = probe(root, features(p0v0={"highdma"}))
    assert trait not in found.traits | found.unknown


def test_a_vf_goes_before_its_pf(root: Path) -> None:
    """A VF that has an interface is asked; tc is its PF's alone."""
    active = {"hw-tc-offload", "rx-checksum"}
    found = probe(root, features(p0v0={"rx-lro"}, p0=active))
    assert {"HW_NIC_OFFLOAD_LRO", TC} <= found.traits
    assert "HW_NIC_OFFLOAD_RX" not in found.traits | found.unknown
    assert TC not in probe(root, features(p0v0=active, p0=())).traits


def test_a_pf_speaks_for_vfs_without_interfaces(root: Path) -> None:
    """Where guests have all VFs, or the one asked does not answer, the PF's offloads count."""
    assert "HW_NIC_OFFLOAD_RX" in probe(root, features(p0={"rx-checksum"})).traits
    for number in range(4):
        shutil.rmtree(netdev(root, f"p0v{number}"))
    found = probe(root, features(p0={"rx-checksum"}))
    assert "HW_NIC_OFFLOAD_RX" in found.traits
    assert VF_MULTIQUEUE in found.unknown


def test_one_vf_is_asked(root: Path) -> None:
    """The cost does not grow with the number of VFs: one of them is asked, and the PF."""
    asked: list[Sequence[str]] = []

    def ask(_pf: Pf, netdevs: Sequence[str]) -> NetlinkReplies:
        asked.append(tuple(netdevs))
        return NetlinkReplies()

    probe(root, ask)
    assert asked == [("p0v0", "p0")]


def test_tunnels(root: Path) -> None:
    """The kernel says of tunnels in UDP, not of which: with them it is unknown, else none is."""
    there = probe(root, features(p0v0={"tx-udp_tnl-segmentation"}))
    assert "HW_NIC_OFFLOAD_TXUDP" in there.traits
    assert set(TUNNELS) <= there.unknown
    assert not set(TUNNELS) & probe(root, features(p0v0=())).unknown


@pytest.mark.parametrize(
    ("settings", "vfs", "there"),
    [
        (VfReporting(trust=True, rate=False), 4, True),
        (VfReporting(trust=False, rate=False), 4, False),
        (VfReporting(trust=False, rate=False), 0, None),
        (None, 4, None),
    ],
)
def test_trust(root: Path, settings: VfReporting | None, vfs: int, there: bool | None) -> None:
    """A driver that says nothing of its VFs' trust has none; without VFs it is unknown."""
    pf = dataclasses.replace(sriov.pfs(root)[0], num_vfs=vfs)
    found = capabilities.capabilities(pf, root, ask=answering(settings=settings))
    assert (TRUSTED in found.traits, TRUSTED in found.unknown) == (there is True, there is None)


@pytest.mark.parametrize(
    ("said", "there"),
    [
        ({}, False),
        ({"settings": VfReporting(trust=True, rate=False)}, False),
        ({"settings": VfReporting(trust=False, rate=True)}, True),
        ({"limits_rates": True}, True),
    ],
)
def test_rate(root: Path, said: dict[str, object], there: bool) -> None:
    """Rates are there if rtnetlink or devlink says so; else it is unknown, and nothing is set."""
    found = probe(root, answering(**said))
    assert (RATE in found.traits, RATE in found.unknown) == (there, not there)


@pytest.mark.parametrize(("receive", "send", "there"), [(2, 2, True), (1, 4, False), (4, 1, False)])
def test_queues(root: Path, receive: int, send: int, there: bool) -> None:
    """A VF has many queues if it has more than one to receive by and more than one to send by."""
    give_queues(root, "p0v0", receive, send)
    assert queues("p0v0", root) == (receive, send)
    found = probe(root)
    assert ({MULTIQUEUE, VF_MULTIQUEUE} <= found.traits) is there
    assert not {MULTIQUEUE, VF_MULTIQUEUE} & found.unknown


def test_queues_that_are_not_shown(root: Path) -> None:
    """An interface without a list of queues is not one with a single queue."""
    for name in ("p0", "p0v0"):
        shutil.rmtree(netdev(root, name) / "queues", ignore_errors=True)
    assert queues("p0v0", root) is None
    assert {MULTIQUEUE, VF_MULTIQUEUE} <= probe(root).unknown


def test_rdma(root: Path) -> None:
    """RDMA is there if the VF has a device for it, whatever its PF has."""
    pf, vf = (root / "bus/pci/devices" / str(a) for a in (nic.pf_address(0), nic.vf_address(0, 0)))
    (pf / "infiniband/mlx5_0").mkdir(parents=True)
    assert RDMA not in probe(root).traits | probe(root).unknown
    (vf / "infiniband/mlx5_2").mkdir(parents=True)
    assert RDMA in probe(root).traits
    (root / "class/net/p0v0").unlink()  # it has gone since the facts were read
    assert RDMA in probe(root).unknown


@pytest.mark.parametrize(
    ("text", "expected"), [("25000\n", 25_000_000), ("-1\n", None), ("0\n", None), (None, None)]
)
def test_speed(root: Path, text: str | None, expected: int | None) -> None:
    """A speed in Mbit/s is given in kbit/s, and what is not known is not a number."""
    file = netdev(root, "p0") / "speed"
    file.unlink(missing_ok=True)
    if text is not None:
        file.write_text(text)
    assert speed("p0", root) == expected


# What the kernel answers, as bytes (include/uapi/linux/netlink.h).
VFINFO_LIST, VF_INFO, MAC, VF_RATE, TRUST = 22, 1, 1, 6, 9
UNSAID = 0xFFFFFFFF


def attribute(kind: int, *values: bytes) -> bytes:
    payload = b"".join(values)
    return struct.pack("HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def vf(number: int, *, trust: int | None, least: int = 0, most: int = 0) -> bytes:
    """A VF as the kernel lists it; ``trust`` None: of a kernel that does not know it."""
    body = attribute(MAC, struct.pack("I32s", number, b"")) + attribute(
        VF_RATE, struct.pack("III", number, least, most)
    )
    if trust is not None:
        body += attribute(TRUST, struct.pack("II", number, trust))
    return attribute(VF_INFO, body)


def settings(*vfs: bytes) -> VfReporting:
    """What is read from the kernel's answer about a PF with these VFs."""
    body = struct.pack("BxHiII", 0, 0, 3, 0, 0)
    body += attribute(VFINFO_LIST, *vfs) if vfs else b""
    read = ifinfmsg(struct.pack("IHHII", 16 + len(body), 16, 0, 0, 0) + body)
    read.decode()
    return vf_info.reporting(read)


def test_settings_of_vfs() -> None:
    """Trust is said as on or off, a rate as least or most; what is left at -1 or 0 is not said."""
    assert settings() == VfReporting(trust=False, rate=False)
    assert settings(vf(0, trust=None)) == VfReporting(trust=False, rate=False)
    assert settings(vf(0, trust=UNSAID)) == VfReporting(trust=False, rate=False)
    assert settings(vf(0, trust=0)) == VfReporting(trust=True, rate=False)
    assert settings(vf(0, trust=0), vf(1, trust=0, most=500)) == VfReporting(trust=True, rate=True)
    assert settings(vf(0, trust=UNSAID, least=100)) == VfReporting(trust=False, rate=True)


def test_a_link_that_is_not_there() -> None:
    """The kernel that does not answer is not one that says no."""
    assert vf_info.read_reporting("no-such-link") is None
    assert ethtool.features(["no-such-link"]) == {}


@pytest.mark.parametrize(
    ("change", "is_leaf"),
    [
        ({}, True),
        ({"RATE_TYPE": 1}, False),
        ({"RATE_TYPE": None}, False),
        ({"DEV_NAME": "0000:03:00.1"}, False),
        ({"BUS_NAME": "netdevsim"}, False),
    ],
)
def test_rate_leaves(change: dict[str, object], is_leaf: bool) -> None:
    """A rate is of a function of this PF; a group of them, and one of another PF, do not count."""
    message = {"BUS_NAME": "pci", "DEV_NAME": "0000:03:00.0", "RATE_TYPE": 0} | change
    assert devlink.is_rate_leaf(message, PciAddress.parse("0000:03:00.0")) is is_leaf


def test_no_rates_without_devlink() -> None:
    """A PF that devlink does not know says nothing of rates, and is no error."""
    assert devlink.limits_rates(PciAddress(0xFFFF, 0xFF, 0x1F, 7)) is False


def test_rates_are_asked_of_real_switches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """devlink is asked of a PF in switchdev mode; of a simulated one it knows another's rates."""
    monkeypatch.setattr(devlink, "limits_rates", lambda pf: pf == nic.pf_address(0))
    monkeypatch.setattr(ethtool, "features", lambda netdevs: {})
    simulated = sriov.pfs(root)[0]
    real = dataclasses.replace(simulated, simulated=False)
    legacy = dataclasses.replace(real, eswitch=EswitchMode.LEGACY)
    said = [capabilities.by_netlink(pf, ()).limits_rates for pf in (simulated, real, legacy)]
    assert said == [False, True, False]
