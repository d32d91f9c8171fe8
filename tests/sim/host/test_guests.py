"""Real guests under a real libvirtd, in namespaces."""

import hashlib
import os
import subprocess
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smartvif.guest.domains import Domains, GuestInterface
from smartvif.guest.xml import interface_xml
from smartvif.model.errors import CannotTell, Failed, Invalid, NotFound, TimedOut
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network
from smartvif.model.vif import PortProfile, ProfileKind, SocketMode, Vif, VifKind
from smartvif.sim.guest import image, libvirtd
from smartvif.sim.guest.console import Console
from smartvif.sim.guest.guests import SimulatedGuests
from smartvif.sim.guest.image import GuestImage
from smartvif.sim.guest.libvirtd import Libvirtd
from smartvif.sim.process import namespaces

RUN_DIR = Path("/run/host")
MAC = "52:54:00:12:34:ab"
NO_MACHINE = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a test finds in the namespaces."""

    image: GuestImage
    daemon: Libvirtd
    guests: SimulatedGuests
    domains: Domains

    def uuid(self, name: str) -> str:
        """The machine of that name; of one that is not there, one that no machine has."""
        return self.domains.uuid(name) if name in self.domains.names() else NO_MACHINE

    def boot(self, name: str) -> Console:
        """A guest that takes commands."""
        self.guests.define(name, self.image)
        self.guests.start(name)
        return self.guests.wait_ready(name)


InHost = Callable[[Callable[[Host], None]], None]


@pytest.fixture(scope="module")
def guest_image() -> GuestImage:
    """The real image, from the user's cache."""
    return image.ensure()


@pytest.fixture
def in_host(guest_image: GuestImage, tmp_path: Path) -> InHost:
    """Runs a function in namespaces with a libvirtd; what it raises fails the test."""
    failure = tmp_path / "failure"

    def scenario(body: Callable[[Host], None]) -> int:
        namespaces.mount("tmpfs", "/run", kind="tmpfs")
        namespaces.mount("sysfs", "/sys", kind="sysfs")
        child = os.fork()
        if child == 0:
            try:
                daemon = libvirtd.start(RUN_DIR)
                guests, domains = SimulatedGuests(daemon.uri, RUN_DIR), Domains(daemon.uri)
                body(Host(image=guest_image, daemon=daemon, guests=guests, domains=domains))
            except BaseException:
                failure.write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        while True:  # the first process takes in QEMU when it is detached
            process, status = os.wait()
            if process == child:
                return os.waitstatus_to_exitcode(status)

    def run(body: Callable[[Host], None]) -> None:
        code = namespaces.run(lambda: scenario(body))
        assert code == 0, failure.read_text() if failure.exists() else f"exit code {code}"

    return run


def add_tap(name: str) -> None:
    """A tap that the guests' user may open."""
    subprocess.run(["ip", "tuntap", "add", name, "mode", "tap", "user", "0"], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)


def tap_xml(name: str, mac: str = MAC, mtu: int = 1400) -> str:
    """The interface of a guest on a tap."""
    network = Network(id="n1", mtu=mtu)
    return interface_xml(
        Vif(
            id="p1",
            kind=VifKind.GENERIC,
            plugin="vrouter",
            address=mac,
            network=network,
            vif_name=name,
            profile=PortProfile(kind=ProfileKind.BASE, create_tap=True),
        )
    )


def eventually(question: Callable[[], bool], timeout: float = 15.0) -> bool:
    """Whether the answer becomes yes."""
    end = time.monotonic() + timeout
    while not (answer := question()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer


def test_commands(in_host: InHost) -> None:
    """Each command gives its own exit code and its whole output, also after one that hung."""

    def body(host: Host) -> None:
        console = host.boot("vm1")
        assert console.run("echo out; echo err >&2; exit 3") == (3, b"out\nerr\n")
        assert console.run("true") == (0, b"")
        assert console.run("printf 'no newline'") == (0, b"no newline")
        assert console.run("echo \"it's\" '$HOME'; read x || echo none") == (
            0,
            b"it's $HOME\nnone\n",
        )
        assert console.run("ip link show lo | grep -c LOWER_UP") == (0, b"1\n")
        assert console.run(f"echo {'long ' * 2000} | wc -c") == (0, b"10000\n")
        code, numbers = console.run("seq 50000")
        assert (code, numbers.split()) == (0, [b"%d" % number for number in range(1, 50001)])
        _, noise = console.run("head -c 100000 /dev/urandom >/tmp/noise; cat /tmp/noise")
        digest = console.run("md5sum </tmp/noise")[1].split()[0].decode()
        assert digest == hashlib.md5(noise, usedforsecurity=False).hexdigest()
        with pytest.raises(TimedOut, match="begun"):
            console.run("echo begun; sleep 1234; echo over", timeout=1)
        assert console.run("ps | grep -c 'sleep 123[4]'") == (1, b"0\n")
        assert console.run("kill -KILL $$")[0] == image.KILLED

    in_host(body)


def test_hot_plug(in_host: InHost) -> None:
    """A running guest sees a NIC come with its MAC address and MTU, and go."""

    def body(host: Host) -> None:
        console = host.boot("vm1")
        add_tap("tap0")
        assert host.domains.interfaces("vm1") == ()
        for _ in range(2):
            host.domains.attach(host.uuid("vm1"), tap_xml("tap0"))
            interface = GuestInterface(
                mac=MAC, kind="ethernet", source="tap0", target="tap0", live=True, persistent=True
            )
            assert host.domains.interfaces("vm1") == (interface,)
        assert eventually(lambda: console.run("ip link show eth0")[0] == 0)
        code, shown = console.run("cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu")
        assert (code, shown.split()) == (0, [MAC.encode(), b"1400"])
        add_tap("tap1")
        host.domains.attach(host.uuid("vm1"), tap_xml("tap1"))
        assert [each.source for each in host.domains.interfaces("vm1")] == ["tap0", "tap1"]
        for _ in range(2):
            host.domains.detach(host.uuid("vm1"), tap_xml("tap0", mac=MAC.upper()))
            (other,) = host.domains.interfaces("vm1")
            assert (other.source, other.live, other.persistent) == ("tap1", True, True)
        host.domains.detach(host.uuid("vm1"), tap_xml("tap1"))
        assert eventually(lambda: console.run("ip link show eth0")[0] != 0)
        host.domains.attach(host.uuid("vm1"), tap_xml("tap0", mac="52:54:00:00:00:02"))
        assert eventually(lambda: b"52:54:00:00:00:02" in console.run("ip link")[1])

    in_host(body)


def test_half_there(in_host: InHost) -> None:
    """Attach adds what is missing on one side, detach takes what is left, a failure adds none."""

    def body(host: Host) -> None:
        host.boot("vm1")
        add_tap("tap0")
        virsh = ["virsh", "-c", host.daemon.uri]
        Path("/run/nic.xml").write_text(tap_xml("tap0"))
        plug = [*virsh, "attach-device", "vm1", "/run/nic.xml", "--live"]
        subprocess.run(plug, check=True, capture_output=True)
        (half,) = host.domains.interfaces("vm1")
        assert (half.live, half.persistent) == (True, False)
        host.domains.attach(host.uuid("vm1"), tap_xml("tap0"))
        (whole,) = host.domains.interfaces("vm1")
        assert (whole.live, whole.persistent) == (True, True)
        unplug = [*virsh, "detach-device", "vm1", "/run/nic.xml", "--config"]
        subprocess.run(unplug, check=True, capture_output=True)
        host.domains.detach(host.uuid("vm1"), tap_xml("tap0"))
        assert host.domains.interfaces("vm1") == ()
        with pytest.raises(Failed, match="specified dev doesn't exist"):
            host.domains.attach(host.uuid("vm1"), tap_xml("nosuch"))
        assert host.domains.interfaces("vm1") == ()

    in_host(body)


def test_stuck_guest(in_host: InHost) -> None:
    """A guest that does not let go of a NIC is an error at the deadline, not a success."""

    def body(host: Host) -> None:
        host.boot("vm1")
        add_tap("tap0")
        host.domains.attach(host.uuid("vm1"), tap_xml("tap0"))
        subprocess.run(["virsh", "-c", host.daemon.uri, "-q", "suspend", "vm1"], check=True)
        with pytest.raises(TimedOut, match=MAC):
            host.domains.detach(host.uuid("vm1"), tap_xml("tap0"), timeout=6.0)
        (left,) = host.domains.interfaces("vm1")
        assert (left.live, left.persistent) == (True, False)
        subprocess.run(["virsh", "-c", host.daemon.uri, "-q", "resume", "vm1"], check=True)
        host.domains.detach(host.uuid("vm1"), tap_xml("tap0"))
        assert host.domains.interfaces("vm1") == ()

    in_host(body)


def test_stopped(in_host: InHost) -> None:
    """A machine that is not running takes an interface for its next start, and gives it back."""

    def body(host: Host) -> None:
        host.guests.define("vm1", host.image)
        uuid = host.uuid("vm1")
        assert not host.domains.running(uuid)
        assert host.domains.read(uuid).shares_memory
        for _ in range(2):
            host.domains.attach(host.uuid("vm1"), tap_xml("tap0"))
            (interface,) = host.domains.interfaces("vm1")
            assert (interface.live, interface.persistent) == (False, True)
        with pytest.raises(Failed, match="it stopped"):
            host.guests.wait_ready("vm1")
        for _ in range(2):
            host.domains.detach(host.uuid("vm1"), tap_xml("tap0"))
            assert host.domains.interfaces("vm1") == ()

    in_host(body)


def test_every_kind(in_host: InHost) -> None:
    """libvirt takes every kind of interface, and each is known again when attached again."""
    network = Network(id="n1", mtu=1400)
    kinds: list[dict[str, Any]] = [
        {"kind": VifKind.GENERIC, "vif_name": "tap0"},
        {"kind": VifKind.BRIDGE, "vif_name": "tap1", "bridge_name": "qbr1"},
        {"kind": VifKind.VHOSTUSER, "path": "/run/s2", "mode": SocketMode.SERVER},
        {"kind": VifKind.VHOSTUSER, "path": "/run/s3", "mode": SocketMode.CLIENT},
        {"kind": VifKind.HOST_DEVICE, "dev_address": PciAddress.parse("0000:05:00.4")},
    ]
    vifs = [
        Vif(id="p", plugin="p", address=f"52:54:00:12:34:a{number}", network=network, **values)
        for number, values in enumerate(kinds)
    ]

    def body(host: Host) -> None:
        host.guests.define("vm1", host.image)
        for _ in range(2):
            for vif in vifs:
                host.domains.attach(host.uuid("vm1"), interface_xml(vif))
        sources = ["tap0", "qbr1", "/run/s2", "/run/s3", "0000:05:00.4"]
        assert [each.source for each in host.domains.interfaces("vm1")] == sources
        for vif in vifs:
            host.domains.detach(host.uuid("vm1"), interface_xml(vif))
        assert host.domains.interfaces("vm1") == ()

    in_host(body)


def test_restart(in_host: InHost) -> None:
    """A restarted libvirtd finds its guests still running, and our connection finds libvirtd."""

    def body(host: Host) -> None:
        console = host.boot("vm1")
        before = host.domains.uuid("vm1")
        libvirtd.stop(host.daemon)
        with pytest.raises(CannotTell, match="does not answer"):
            host.domains.running(host.uuid("vm1"))
        assert console.run("echo alive") == (0, b"alive\n")
        assert libvirtd.start(RUN_DIR).uri == host.daemon.uri
        assert host.domains.running(host.uuid("vm1"))
        assert host.domains.uuid("vm1") == before
        add_tap("tap0")
        host.domains.attach(host.uuid("vm1"), tap_xml("tap0"))
        assert eventually(lambda: console.run("ip link show eth0")[0] == 0)
        begin = time.monotonic()
        host.guests.stop("vm1")
        assert time.monotonic() - begin < 20
        assert not host.domains.running(host.uuid("vm1"))

    in_host(body)


def test_three_at_once(in_host: InHost) -> None:
    """Three guests boot side by side, and each console is its own guest's."""

    def body(host: Host) -> None:
        names = ("vm1", "vm2", "vm3")
        for name in names:
            host.guests.define(name, host.image)
            host.guests.start(name)
        consoles = {name: host.guests.wait_ready(name) for name in names}
        for name, console in consoles.items():
            assert console.run(f"hostname {name}")[0] == 0
        for name, console in consoles.items():
            assert console.run("hostname") == (0, f"{name}\n".encode())

    in_host(body)


def test_names(in_host: InHost) -> None:
    """An unknown machine is not found, with those there are as a hint; detaching it is done."""

    def body(host: Host) -> None:
        with pytest.raises(NotFound) as nobody:
            host.domains.uuid("vm9")
        assert nobody.value.hint == "there are none"
        host.guests.define("vm2", host.image)
        host.guests.define("vm1", host.image)
        assert host.domains.exists(host.uuid("vm1"))
        assert not host.domains.exists(host.uuid("vm9"))
        with pytest.raises(NotFound) as unknown:
            host.domains.uuid("vm9")
        assert unknown.value.hint == "there are: vm1, vm2"
        with pytest.raises(NotFound, match=f"has the UUID {NO_MACHINE}"):
            host.domains.attach(host.uuid("vm9"), tap_xml("tap0"))
        host.domains.detach(host.uuid("vm9"), tap_xml("tap0"))
        host.domains.detach(host.uuid("vm1"), tap_xml("tap0"))
        with pytest.raises(Invalid, match="too long"):
            host.guests.define("v" * 100, host.image)

    in_host(body)


def test_slow_boot(in_host: InHost) -> None:
    """A guest that is not up at the deadline is an error that says what its console said."""

    def body(host: Host) -> None:
        host.guests.define("vm1", host.image)
        host.guests.start("vm1")
        with pytest.raises(TimedOut, match="its console"):
            host.guests.wait_ready("vm1", timeout=0.0)

    in_host(body)


def test_libvirtd_fails(in_host: InHost) -> None:
    """A libvirtd that cannot start is an error with the words of its log."""

    def body(host: Host) -> None:
        with pytest.raises(Invalid, match="too long"):
            libvirtd.start(Path("/run") / ("x" * 60))
        (RUN_DIR / "2/run").mkdir(parents=True)
        (RUN_DIR / "2/run/libvirt").write_text("in the way")
        with pytest.raises(Failed, match="libvirt"):
            libvirtd.start(RUN_DIR / "2")

    in_host(body)


def test_nobody_answers(tmp_path: Path) -> None:
    """Without a libvirtd nobody can tell whether there is such a machine."""
    domains = Domains(f"qemu:///session?socket={tmp_path}/none")
    for question in (domains.exists, domains.running, domains.interfaces):
        with pytest.raises(CannotTell, match="does not answer"):
            question(NO_MACHINE)
