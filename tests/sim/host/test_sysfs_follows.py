"""The simulated host's /sys is like its links, whatever is done to them."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smartvif.host import sriov
from smartvif.host.representors import Representors
from smartvif.model.errors import NotFound
from smartvif.sim.host import SIMULATION
from smartvif.sim.nic import nic, sysfs_follow
from smartvif.sim.testing import on_simulated_host, settled

CLASS_NET = Path("/sys/class/net")
VFS = 4
# The netdev and the representor of each VF as the card is made.
MADE = {vf: (f"p0v{vf}", f"p0r{vf}") for vf in range(VFS)}


def ip(*words: str) -> str:
    """What ip(8) says."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def agree(**changed: tuple[str | None, str | None]) -> None:
    """/sys has the links that the kernel has, and each VF has its own two, but those ``changed``.

    Our look-ups and those of unmodified os-vif find the same. A VF is called ``vfN``.
    """
    settled()
    links = {link["ifname"]: link for link in json.loads(ip("-j", "link"))}
    assert set(os.listdir(CLASS_NET)) == set(links)
    for name, link in links.items():
        assert read(name, "ifindex") == str(link["ifindex"])
        assert read(name, "address") == link["address"]
        assert read(name, "mtu") == str(link["mtu"])
        assert (CLASS_NET / name / "subsystem").samefile(CLASS_NET)
    assert sriov.uplink(nic.pf_address(0)) == "p0"
    below = [f"{nic.pf_address(0)}", *(f"{nic.vf_address(0, vf)}" for vf in range(VFS))]
    shown = [set(os.listdir(f"/sys/bus/pci/devices/{address}/net")) for address in below]
    expected = {vf: changed.get(f"vf{vf}", pair) for vf, pair in MADE.items()}
    assert shown[0] == {"p0"} | {one for _, one in expected.values() if one is not None}
    for vf, (netdev, representor) in expected.items():
        assert shown[1 + vf] == ({netdev} if netdev else set())
        look_up(vf, netdev, representor)


def look_up(vf: int, netdev: str | None, representor: str | None) -> None:
    """We and os-vif find that netdev and that representor of a VF, or that there is none."""
    from vif_plug_ovs import linux_net
    from vif_plug_ovs.exception import PciDeviceNotFoundById, RepresentorNotFound

    address = nic.vf_address(0, vf)
    found = sriov.vf(address)
    assert found.netdev == netdev
    if netdev is None:
        with pytest.raises(PciDeviceNotFoundById):
            linux_net.get_ifname_by_pci_address(str(address))
    else:
        assert (CLASS_NET / netdev / "device").resolve().name == str(address)
        assert linux_net.get_ifname_by_pci_address(str(address)) == netdev
    if representor is None:
        with pytest.raises(NotFound):
            Representors().find(found)
        with pytest.raises(RepresentorNotFound):
            linux_net.get_representor_port("p0", str(vf))
    else:
        assert read(representor, "phys_port_name") == f"pf0vf{vf}"
        assert Representors().find(found).netdev == representor
        assert linux_net.get_representor_port("p0", str(vf)) == representor


def read(netdev: str, attribute: str) -> str:
    """What an attribute says."""
    return (CLASS_NET / netdev / attribute).read_text().strip()


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """A network namespace that is empty when it goes."""
    ip("netns", "add", name)
    yield
    ip("netns", "del", name)


def swap(one: str, other: str) -> None:
    """Exchange the names of two links."""
    ip("link", "set", one, "name", "between")
    ip("link", "set", other, "name", one)
    ip("link", "set", "between", "name", other)


def a_new_host() -> None:
    """A host that was just made shows all its links, those of its daemons too."""
    agree()
    assert {"lo", "br-int", "p0", nic.wire(0)} <= set(os.listdir(CLASS_NET))
    assert read("br-int", "tun_flags").startswith("0x")


def a_rename() -> None:
    """A renamed representor, VF or uplink keeps what it is, and is gone from its old name."""
    ip("link", "set", "p0r0", "name", "foo")
    ip("link", "set", "p0v1", "name", "bar")
    agree(vf0=("p0v0", "foo"), vf1=("bar", "p0r1"))
    ip("link", "set", "foo", "name", "p0r0")
    ip("link", "set", "bar", "name", "p0v1")
    agree()


def a_swap_of_names() -> None:
    """After the names of two are exchanged, each is found by the other name."""
    swap("p0r0", "p0r1")
    swap("p0v2", "p0v3")
    agree(vf0=("p0v0", "p0r1"), vf1=("p0v1", "p0r0"), vf2=("p0v3", "p0r2"), vf3=("p0v2", "p0r3"))
    swap("p0r0", "p0r1")
    swap("p0v2", "p0v3")
    agree()


def changed_attributes() -> None:
    """An attribute says what the link has now, and what is written to it is the link's."""
    ip("link", "set", "p0v0", "address", "52:54:00:12:34:56", "mtu", "1400")
    (CLASS_NET / "p0r0/mtu").write_text("1450\n")
    agree()
    assert json.loads(ip("-j", "link", "show", "p0r0"))[0]["mtu"] == 1450
    ip("link", "set", "p0v0", "address", nic.mac("p0v0"), "mtu", "1500")
    ip("link", "set", "p0r0", "mtu", "1500")


def links_of_others() -> None:
    """Taps, bridges and veths are shown as virtual ones, and are gone when they are deleted."""
    before = set(os.listdir(CLASS_NET))
    ip("tuntap", "add", "tap7", "mode", "tap")
    ip("link", "add", "br7", "type", "bridge")
    ip("link", "add", "veth7", "type", "veth", "peer", "name", "veth8")
    agree()
    assert set(os.listdir(CLASS_NET)) - before == {"tap7", "br7", "veth7", "veth8"}
    assert os.readlink(CLASS_NET / "tap7") == "../../devices/virtual/net/tap7"
    assert int(read("tap7", "tun_flags"), 16) & 2  # IFF_TAP
    assert (CLASS_NET / "br7/bridge").is_dir()
    assert not (CLASS_NET / "br7/device").exists()
    ip("link", "set", "p0r0", "master", "br7")
    ip("link", "set", "p0r0", "nomaster")  # an event of the bridge's, not of the link's end
    agree()
    for name in ("tap7", "br7", "veth7"):
        ip("link", "del", name)
    agree()
    assert set(os.listdir(CLASS_NET)) == before


def a_move_to_a_namespace_and_back() -> None:
    """A VF in another namespace has no netdev here; it has when it is back, by any ifindex."""
    index = read("p0v0", "ifindex")
    with namespace("elsewhere"):
        ip("link", "set", "p0v0", "netns", "elsewhere")
        ip("link", "set", "p0r1", "netns", "elsewhere")
        agree(vf0=(None, "p0r0"), vf1=("p0v1", None))
        ip("link", "add", "thief", "index", index, "type", "bridge")
        ip("-n", "elsewhere", "link", "set", "p0v0", "name", "eth0")
        for name in ("eth0", "p0r1"):
            ip("-n", "elsewhere", "link", "set", name, "netns", str(os.getpid()))
    agree(vf0=("eth0", "p0r0"))
    assert read("eth0", "ifindex") != index
    ip("link", "del", "thief")
    ip("link", "set", "eth0", "name", "p0v0")
    agree()


def an_uplink_whose_wire_has_moved() -> None:
    """An uplink is one wherever the other end of its wire is, and wherever it was itself."""
    with namespace("elsewhere"):
        ip("link", "set", nic.wire(0), "netns", "elsewhere")
        agree()
        ip("link", "set", "p0", "netns", "elsewhere")
        settled()
        assert sriov.uplink(nic.pf_address(0)) != "p0"
        ip("-n", "elsewhere", "link", "set", "p0", "netns", str(os.getpid()))
        agree()
        ip("-n", "elsewhere", "link", "set", nic.wire(0), "netns", str(os.getpid()))
    agree()


def more_events_than_are_kept() -> None:
    """Where the kernel has dropped events, all links are read again."""
    follower = sysfs_follow.settled(SIMULATION)
    toggle = "link set p0v0 mtu 1400\nlink set p0v0 mtu 1500\n"
    with stopped(follower):
        swap("p0r0", "p0r1")
        while not dropped_events(follower):
            subprocess.run(["ip", "-batch", "-"], input=toggle * 300, text=True, check=True)
        swap("p0r1", "p0r2")
        ip("link", "add", "br7", "type", "bridge")
    agree(vf0=("p0v0", "p0r2"), vf1=("p0v1", "p0r0"), vf2=("p0v2", "p0r1"))
    swap("p0r1", "p0r2")
    swap("p0r0", "p0r1")
    ip("link", "del", "br7")
    agree()


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """Have a process do nothing meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def dropped_events(process: int) -> int:
    """How many messages to a process's netlink socket the kernel has dropped."""
    _, *rows = Path("/proc/net/netlink").read_text().splitlines()
    drops = {int(row.split()[2]): int(row.split()[8]) for row in rows}
    return drops[process]


def a_deleted_vf() -> None:
    """A VF whose netdev is deleted has none, and its representor is as it was."""
    ip("link", "del", "p0v3")
    agree(vf3=(None, "p0r3"))


# In this order, on one host; the last one cannot be undone.
SCENARIOS: tuple[Callable[[], None], ...] = (
    a_new_host,
    a_rename,
    a_swap_of_names,
    changed_attributes,
    links_of_others,
    a_move_to_a_namespace_and_back,
    an_uplink_whose_wire_has_moved,
    more_events_than_are_kept,
    a_deleted_vf,
)


@on_simulated_host(f"1x{VFS}")
def run_all(answers: Path) -> None:
    """Write what each scenario raised, or nothing, to a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of os-vif's own imports
        importlib.import_module("vif_plug_ovs.linux_net")
    found = {}
    for scenario in SCENARIOS:
        try:
            scenario()
            found[scenario.__name__] = ""
        except BaseException:
            found[scenario.__name__] = traceback.format_exc()
    answers.write_text(json.dumps(found))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each scenario raised."""
    if importlib.util.find_spec("vif_plug_ovs") is None:
        pytest.skip("os-vif is not installed")
    path = tmp_path_factory.mktemp("sysfs") / "answers"
    run_all(path)
    found: dict[str, str] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_sysfs_follows(scenario: str, answers: dict[str, str]) -> None:
    """What the scenario's first sentence says holds."""
    assert not answers[scenario], answers[scenario]
