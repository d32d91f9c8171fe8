"""Several simulated hosts side by side: what each has for itself, what joins them, how they end."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.errors import Failed, NotFound, Refused, StepFailed
from smartvif.sim import host as single
from smartvif.sim.fleet import MTU, Fleet, Member, run_fleet
from smartvif.sim.guest.image import GuestImage
from smartvif.sim.host import BRIDGE, SimulatedHost, Underlay, host_switch
from smartvif.sim.nic.nic import NicLayout
from smartvif.sim.testing import on_simulated_hosts
from tests.support.commands import attach, document, guest, host
from tests.support.facts import port_facts
from tests.support.leftovers import in_private_world, same_soon, traces

SMALL = SimulatedHost(nic=NicLayout.parse("1x1"))
HEADERS = 20 + 8  # bytes of IPv4 and UDP
UDP_PORT = 4789

# include/uapi/linux/in.h: set the Don't Fragment bit, and refuse what is too long for the link.
_IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 10, 2


def switch() -> OpenVSwitch:
    """The Open vSwitch of the host that this runs on."""
    return OpenVSwitch(Ovsdb(host_switch().address), timeout=10.0)


def add_port() -> None:
    """Give the host a port on its switch."""
    switch().add_port(OvsPortSpec(bridge=BRIDGE, name="p0r0", owner="vif-1"))


def has_port() -> bool:
    """Whether the host has that port."""
    return switch().port("p0r0") is not None


def ports() -> list[str]:
    """The ports in the host's journal."""
    return [record.id for record in host().journal.ports()]


def begin_port() -> None:
    """Write a port into the host's journal."""
    host().journal.begin("port-1", port_facts())


def uplink() -> tuple[str, str, bool, int]:
    """The MAC address of p0, what /sys says of it, whether it is up, and its MTU."""
    link = Links().get("p0")
    assert link is not None
    return link.mac, Path("/sys/class/net/p0/address").read_text().strip(), link.up, link.mtu


@on_simulated_hosts(2)
def test_each_host_has_its_own(fleet: Fleet) -> None:
    """Name, address, switch, journal, netdevs and files of a host are no other host's."""
    one, other = fleet.hosts
    assert [(member.name, member.address) for member in fleet.hosts] == [
        ("host1", "192.0.2.1"),
        ("host2", "192.0.2.2"),
    ]
    assert [member.call(socket.gethostname) for member in fleet.hosts] == ["host1", "host2"]

    one.call(add_port)
    one.call(begin_port)
    assert (one.call(has_port), other.call(has_port)) == (True, False)
    assert (one.call(ports), other.call(ports)) == (["port-1"], [])

    one.call(Links().add_tap, "tap1")
    one.call(Path("/run/mine").touch)
    assert "tap1" in one.call(Links().names)
    assert "tap1" not in other.call(Links().names)
    assert [member.call(Path("/run/mine").exists) for member in fleet.hosts] == [True, False]
    assert not Path("/run/mine").exists()


@on_simulated_hosts(2, nic="2x1")
def test_the_uplinks(fleet: Fleet) -> None:
    """Each p0 is up with MTU 1600 and a MAC address of its own, and /sys agrees."""
    found = [member.call(uplink) for member in fleet.hosts]
    assert [(up, mtu) for _, _, up, mtu in found] == [(True, MTU)] * 2
    assert found[0][0] != found[1][0]
    for member, (mac, in_sys, _, _) in zip(fleet.hosts, found, strict=True):
        assert mac == in_sys
        assert member.call(Path("/sys/class/net/p0/mtu").read_text) == f"{MTU}\n"
        # The kernel has no such name for a veth.
        assert member.call(Path("/sys/class/net/p0/phys_port_name").read_text) == "p0\n"
        assert not {"p0wire", "p1wire"} & set(member.call(Links().names))
    wires = {"host1p0", "host1p1", "host2p0", "host2p1"}
    assert wires | {"lo", "underlay"} == set(Links().names())


@pytest.mark.parametrize("to_second", [True, False], ids=["there", "back"])
@on_simulated_hosts(2)
def test_packets_pass(fleet: Fleet, to_second: bool) -> None:
    """A datagram that fills the MTU goes from host to host in one packet; one byte more cannot."""
    sender, receiver = fleet.hosts if to_second else fleet.hosts[::-1]
    payload = os.urandom(MTU - HEADERS)
    readable, writable = os.pipe()
    receiving = receiver.start(receive, receiver.address, writable)
    assert os.read(readable, 1) == b"!"
    assert sender.call(send, receiver.address, payload + b"!") == errno.EMSGSIZE
    assert sender.call(send, receiver.address, payload) == 0
    assert receiving.result() == (payload, sender.address)


def receive(address: str, ready: int) -> tuple[bytes, str]:
    """One datagram and whom it is from; writes to ``ready`` when it can come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(20.0)
        line.bind((address, UDP_PORT))
        os.write(ready, b"!")
        data, sender = line.recvfrom(1 << 16)
        return data, sender[0]


def send(address: str, payload: bytes) -> int:
    """Send a datagram that is not to be fragmented; the number of the error, or 0."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        try:
            line.sendto(payload, (address, UDP_PORT))
        except OSError as error:
            return error.errno or -1
    return 0


def not_found() -> None:
    """Fail as a command does."""
    raise NotFound("no such thing", where="here", hint="look there")


def step_failed() -> None:
    """Fail with an error that cannot be pickled."""
    raise StepFailed("add port", Failed("no switch"))


@on_simulated_hosts(1)
def test_errors_come_through(fleet: Fleet) -> None:
    """Our errors keep their kind and parts, others are AssertionErrors; all say where it was."""
    (member,) = fleet.hosts
    with pytest.raises(NotFound) as ours:
        member.call(not_found)
    error = ours.value
    assert (error.what, error.where, error.hint) == ("no such thing", "here", "look there")
    assert "in not_found" in error.__notes__[0]
    with pytest.raises(AssertionError, match=r"in step_failed(.|\n)*no switch"):
        member.call(step_failed)
    with pytest.raises(AssertionError, match=r"ValueError: .*'twelve'"):
        member.call(int, "twelve")
    with pytest.raises(AssertionError, match="pickle"):
        member.call(lambda: lambda: None)
    with pytest.raises(Failed, match="ended with code 137"):
        member.call(signal.raise_signal, signal.SIGKILL)
    assert member.call(int, "12") == 12


@on_simulated_hosts(1)
def test_a_call_is_a_process_of_its_own(fleet: Fleet) -> None:
    """It is a child of its caller, and gone when the call has returned."""
    (member,) = fleet.hosts
    assert member.call(os.getppid) == os.getpid()
    assert not Path("/proc", str(member.call(os.getpid))).exists()


@on_simulated_hosts(2)
def test_a_call_ends_with_its_caller(fleet: Fleet) -> None:
    """What a killed function has begun on another host does not outlive it."""
    one, other = fleet.hosts
    readable, writable = os.pipe()
    running = one.start(begin_and_die, other)
    os.close(writable)
    # Readable when nobody holds the other end of the pipe any more.
    assert select.select([readable], [], [], 20.0)[0] == [readable]
    with pytest.raises(Failed, match="code 137"):
        running.result()


def begin_and_die(member: Member) -> None:
    """Begin something on another host, and be killed."""
    member.start(signal.pause)
    signal.raise_signal(signal.SIGKILL)


@on_simulated_hosts(1)
def test_a_call_is_where_its_caller_is(fleet: Fleet) -> None:
    """The working directory stays, and the environment but for what the host adds."""
    (member,) = fleet.hosts
    os.environ["MINE"] = "x"
    os.chdir("/usr/share")
    assert member.call(os.getcwd) == "/usr/share"
    assert member.call(os.getenv, "MINE") == "x"
    assert member.call(os.getenv, "SMARTVIF_CONFIG") == str(single.CONFIG)
    assert os.getenv("SMARTVIF_CONFIG") != str(single.CONFIG)


@on_simulated_hosts(1)
def test_no_host_inside(fleet: Fleet) -> None:
    """Neither on a host nor beside it can another one be made."""
    (member,) = fleet.hosts
    with pytest.raises(Refused, match="simulated host already"):
        member.call(single.run, SMALL, lambda: 0)
    with pytest.raises(Refused, match="simulated host already"):
        run_fleet([SMALL], lambda _: 0)


def test_one_that_cannot_start_ends_all(capfd: pytest.CaptureFixture[str]) -> None:
    """The error of the host that does not start is the only one, at once, and nothing is run."""

    def start_or_fail(*_: object) -> None:
        if socket.gethostname() == "host2":
            raise Failed("no switch", where="ovs", hint="get one")
        time.sleep(20.0)  # a host that takes long
        raise Failed("too late", where="ovs")

    with mock.patch.object(single, "start", start_or_fail):
        assert run_fleet([SMALL] * 3, lambda _: 77) == 1
    assert capfd.readouterr().err == "error: host2: ovs: no switch\n hint: get one\n"


def test_a_host_knows_the_others() -> None:
    """What is started on a host is told the address of that host and those of the others."""
    start = single.start

    def note_and_start(
        host: SimulatedHost, image: GuestImage | None, underlay: Underlay | None
    ) -> dict[str, str]:
        assert underlay is not None
        Path("/run/known").write_text(" ".join((underlay.address, *underlay.peers)))
        return start(host, image, underlay)

    def known(fleet: Fleet) -> int:
        read = Path("/run/known").read_text
        assert [member.call(read) for member in fleet.hosts] == [
            "192.0.2.1 192.0.2.2 192.0.2.3",
            "192.0.2.2 192.0.2.1 192.0.2.3",
            "192.0.2.3 192.0.2.1 192.0.2.2",
        ]
        return 0

    with mock.patch.object(single, "start", note_and_start):
        assert run_fleet([SMALL] * 3, known) == 0


def test_a_failing_test_says_why() -> None:
    """What a function beside the hosts, or on one of them, raises comes out as text."""

    @on_simulated_hosts(1)
    def beside(_: Fleet) -> None:
        raise KeyError("beside it")

    @on_simulated_hosts(1)
    def on_it(fleet: Fleet) -> None:
        fleet.hosts[0].call(not_found)

    with pytest.raises(AssertionError, match="KeyError: 'beside it'"):
        beside()
    with pytest.raises(AssertionError, match=r"in not_found(.|\n)*no such thing"):
        on_it()


def test_nothing_is_left() -> None:
    """At its end, with a function still running on a host, there is no trace."""

    def body() -> None:
        before = traces()
        assert run_fleet([SMALL] * 2, leave_running) == 7
        assert same_soon(before) == {}

    in_private_world(body)


def leave_running(fleet: Fleet) -> int:
    """End while something is at work on a host."""
    fleet.hosts[1].start(signal.pause)
    return 7


KILLED = """\
import signal, sys
from smartvif.sim.fleet import run_fleet
from smartvif.sim.host import SimulatedHost
from smartvif.sim.nic.nic import NicLayout

def main(fleet):
    for member in fleet.hosts:
        member.start(signal.pause)
    print("ready", flush=True)
    signal.pause()

run_fleet([SimulatedHost(nic=NicLayout.parse("1x1"))] * 2, main)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_fleet_leaves_nothing(number: signal.Signals) -> None:
    """A signal to the outermost process, or Ctrl-C to its group, ends hosts and functions."""

    def body() -> None:
        before = traces()
        running = subprocess.Popen(
            [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, process_group=0
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        if number == signal.SIGINT:
            os.killpg(running.pid, number)
        else:
            running.send_signal(number)
        with running:
            pass
        assert same_soon(before) == {}

    in_private_world(body)


def host_uuid() -> str:
    """What libvirt tells hosts apart by."""
    command = ["virsh", "-c", os.environ["LIBVIRT_DEFAULT_URI"], "capabilities"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.partition("<uuid>")[2].partition("</uuid>")[0]


def in_guest(command: str) -> str:
    """What a command says in the host's machine."""
    code, said = guest("vm1").run(command)
    assert code == 0, said
    return said.decode().strip()


@on_simulated_hosts(2, guests=1)
def test_guests_of_the_same_name(fleet: Fleet) -> None:
    """Each host has a libvirt and a machine vm1 of its own, and its ports work at the same time."""
    for member in fleet.hosts:
        member.call(in_guest, f"echo {member.name} >/tmp/whose")
    assert [member.call(in_guest, "cat /tmp/whose") for member in fleet.hosts] == ["host1", "host2"]
    assert len({member.call(host_uuid) for member in fleet.hosts}) == 2

    plugged = [
        (member.name, member.call(attach, "vm1", mode)["id"])
        for mode in ("direct", "virtio-forwarder")
        for member in fleet.hosts
    ]
    for member in fleet.hosts:
        assert healthy(member) == {port: "ok" for name, port in plugged if name == member.name}


def healthy(member: Member) -> dict[str, str]:
    """The health of each port of a host."""
    listed = member.call(document, "ports")["ports"]
    return {port["id"]: port["health"] for port in listed}
