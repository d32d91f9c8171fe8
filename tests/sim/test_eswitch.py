"""The simulated card's eswitch with packets: what misses, what hits, and what is counted."""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from smartvif.drivers.kernel.links import Links
from smartvif.model.errors import Failed, Invalid, NotFound
from smartvif.sim.nic.eswitch import CAPACITY, NETNS, Counts, Eswitch, Match
from smartvif.sim.process import netns
from smartvif.sim.testing import on_simulated_host

ETH_P_ALL = 3  # include/uapi/linux/if_ether.h
SOL_PACKET, IGNORE_OUTGOING = 263, 23  # include/linux/socket.h, include/uapi/linux/if_packet.h
ICMP, TCP, UDP = 1, 6, 17
MORE_FRAGMENTS, DONT_FRAGMENT = 0x2000, 0x4000
TAG = b"\x81\x00\x00\x0a"
ETHERNET = bytes.fromhex("0253560000bb0253560000aa")
IPV6 = Path("/proc/sys/net/ipv6/conf")
SECONDS = 5.0
T = TypeVar("T")
UDP_FLOW = Match(
    source="p0r0", protocol=UDP, src="10.0.0.1", dst="10.0.0.2", sport=1000, dport=2000
)
TCP_FLOW = replace(UDP_FLOW, protocol=TCP)
ECHO_FLOW = replace(UDP_FLOW, protocol=ICMP, sport=77, dport=8)
_payloads = itertools.count(1)


class Card:
    """Ends of the card, all up, with a socket at each; ``netns`` is where some of them are."""

    def __init__(self, *names: str, **netns: str) -> None:
        self.sockets = {name: opened(name, netns.get(name)) for name in names}
        for name in names:
            wait_joined(name)

    def ways(self, source: str, packet: bytes) -> list[str]:
        """Send a packet into one end; the ends that it comes out of."""
        self.sockets[source].send(packet)
        ready, _, _ = select.select(self.sockets.values(), [], [], SECONDS)
        found = [name for name, end in self.sockets.items() if end in ready]
        for name in found:
            # The kernel keeps a tag beside the frame (PACKET_AUXDATA in packet(7)).
            assert self.sockets[name].recv(1 << 16) == packet.replace(TAG, b"", 1), name
        return found


def opened(name: str, netns: str | None) -> socket.socket:
    """A socket for the frames of an interface, which is brought up."""

    def make() -> socket.socket:
        links = Links()
        links.set_up(name)
        links.close()
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        end.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
        end.bind((name, ETH_P_ALL))
        return end

    return within(netns, make) if netns else make()


def wait_joined(name: str) -> None:
    """Wait until the inner end sends what it is given: a little later than the outer one is up.

    The kernel sees to both at once, after the carrier has come (net/core/link_watch.c).
    """
    end = time.monotonic() + SECONDS
    command = ["ip", "-n", NETNS, "-j", "link", "show", name]
    while True:
        (link,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        if link["operstate"] == "UP":
            return
        assert time.monotonic() < end, link


def within(netns: str, work: Callable[[], T]) -> T:
    """Do something in a network namespace."""
    from pyroute2 import netns as namespaces

    def entered() -> T:
        namespaces.setns(netns, flags=0)
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(entered).result()


def packet(
    flow: Match,
    *,
    fragment: int = DONT_FRAGMENT,
    options: bytes = b"",
    tag: bytes = b"",
    tos: int = 0,
    code: int = 0,
    size: int = 0,
) -> bytes:
    """A frame of the flow that is like no other, with ``size`` bytes more."""
    if flow.protocol == ICMP:
        inner = struct.pack("!BBHHH", flow.dport, code, 0, flow.sport, 1)
    else:
        inner = struct.pack("!HHI", flow.sport, flow.dport, 0)
    inner += struct.pack("!Q", next(_payloads)) + bytes(size)
    words = 5 + len(options) // 4
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | words,
        tos,
        4 * words + len(inner),
        0,
        fragment,
        64,
        flow.protocol,
        0,
        ipaddress.ip_address(flow.src).packed,
        ipaddress.ip_address(flow.dst).packed,
    )
    return ETHERNET + tag + b"\x08\x00" + header + options + inner


def passed(name: str) -> dict[str, tuple[int, int]]:
    """The packets and bytes that an interface has received and sent."""
    shown = subprocess.run(
        ["ip", "-s", "-j", "link", "show", name], check=True, capture_output=True
    )
    (link,) = json.loads(shown.stdout)
    stats = link["stats64"]
    return {way: (stats[way]["packets"], stats[way]["bytes"]) for way in ("rx", "tx")}


@on_simulated_host()
def test_without_a_flow_everything_passes_the_representor() -> None:
    """What a VF sends comes out of its representor and back; also after it was down, and jumbo."""
    card = Card("p0v0", "p0r0", "p0v1", "p0r1")
    for pair in (("p0v0", "p0r0"), ("p0v1", "p0r1")):
        for source, other in (pair, pair[::-1]):
            assert card.ways(source, packet(UDP_FLOW)) == [other]
    links = Links()
    links.set_down("p0r0")
    links.set_up("p0r0")
    for name in ("p0v0", "p0r0"):
        links.set_mtu(name, 9000)
    card = Card("p0v0", "p0r0")
    assert card.ways("p0v0", packet(UDP_FLOW, size=8900)) == ["p0r0"]
    assert card.ways("p0r0", packet(UDP_FLOW, size=8900)) == ["p0v0"]


@on_simulated_host()
def test_the_inside_of_the_card_is_silent() -> None:
    """The inner ends are up, pass any size, and have no IPv6 to announce themselves with."""
    inside = Links(NETNS)
    ports = {f"p0{kind}{vf}" for kind in "vr" for vf in range(8)}
    assert set(inside.names()) == ports | {"lo"}
    for name in ports:
        link = inside.get(name)
        assert link is not None
        assert (link.up, link.mtu) == (True, 65535)
    switches = within(NETNS, lambda: {path.read_text() for path in IPV6.glob("*/disable_ipv6")})
    assert switches <= {"1\n"}


@on_simulated_host()
def test_a_hit_comes_out_of_the_other_vf_and_no_representor_sees_it() -> None:
    """UDP, TCP and ICMP flows each carry their own packets, and count them exactly."""
    card, eswitch = Card("p0v0", "p0r0", "p0v1", "p0r1"), Eswitch()
    flows = dict(enumerate((UDP_FLOW, TCP_FLOW, ECHO_FLOW), start=1))
    for number, flow in flows.items():
        eswitch.add(number, flow, "p0r1")
        assert eswitch.counts(number) == Counts(packets=0, bytes=0)
    before = passed("p0r0"), passed("p0r1"), passed("p0v1")
    sent = dict.fromkeys(flows, 0)
    for number, flow in flows.items():
        for size in range(number):
            frame = packet(flow, size=100 * size)
            assert card.ways("p0v0", frame) == ["p0v1"], flow
            sent[number] += len(frame)
    for number in flows:
        assert eswitch.counts(number) == Counts(packets=number, bytes=sent[number])
    assert (passed("p0r0"), passed("p0r1")) == before[:2]
    packets, size = before[2]["rx"]
    assert passed("p0v1")["rx"] == (packets + 6, size + sum(sent.values()))


@on_simulated_host()
def test_only_the_flow_itself_hits() -> None:
    """Every field of a flow counts; what is no plain IPv4 packet of it goes to the representor."""
    card, eswitch = Card("p0v0", "p0r0", "p0v1", "p0r1"), Eswitch()
    flows = {1: UDP_FLOW, 2: TCP_FLOW, 3: ECHO_FLOW}
    for number, flow in flows.items():
        eswitch.add(number, flow, "p0r1")
    others = [
        packet(replace(flow, **change))
        for flow in flows.values()
        for change in (
            {"src": "10.0.0.3"},
            {"dst": "10.0.0.130"},
            {"sport": flow.sport + 256},
            {"dport": flow.dport ^ 8},
            {"protocol": 132},
        )
    ]
    for flow in flows.values():
        others += [
            packet(flow, fragment=MORE_FRAGMENTS),
            packet(flow, fragment=MORE_FRAGMENTS | 1),
            packet(flow, fragment=185),
            packet(flow, fragment=0x1FFF),
            # Where the ports would be, were there no options.
            packet(flow, options=packet(flow)[34:42]),
            packet(flow, tag=TAG),
            packet(replace(flow, src=flow.dst, dst=flow.src)),
            packet(flow)[:34],
        ]
    others += [packet(ECHO_FLOW, code=1), ETHERNET + b"\x08\x06" + bytes(46)]
    for number, frame in enumerate(others):
        assert card.ways("p0v0", frame) == ["p0r0"], (number, frame.hex())
    for flow in flows.values():
        # From another VF, and from the switch, it is no packet of the flow.
        assert card.ways("p0v1", packet(flow)) == ["p0r1"]
        assert card.ways("p0r0", packet(flow)) == ["p0v0"]
    assert [eswitch.counts(number).packets for number in flows] == [0, 0, 0]
    for flow in flows.values():
        assert card.ways("p0v0", packet(flow, fragment=0)) == ["p0v1"]
        assert card.ways("p0v0", packet(flow, tos=0xB8)) == ["p0v1"]


@on_simulated_host()
def test_a_flow_goes_where_it_is_told_and_is_deleted_alone() -> None:
    """Flows of one VF have targets of their own; a deleted one misses, the others stay."""
    card, eswitch = Card("p0v0", "p0r0", "p0v1", "p0v2"), Eswitch()
    eswitch.add(4095, UDP_FLOW, "p0r1")
    eswitch.add(7, TCP_FLOW, "p0r2")
    assert card.ways("p0v0", packet(UDP_FLOW)) == ["p0v1"]
    assert card.ways("p0v0", packet(TCP_FLOW)) == ["p0v2"]
    eswitch.delete(4095)
    eswitch.delete(4095)
    assert card.ways("p0v0", packet(UDP_FLOW)) == ["p0r0"]
    assert card.ways("p0v0", packet(TCP_FLOW)) == ["p0v2"]
    with pytest.raises(NotFound, match="no flow 4095"):
        eswitch.counts(4095)
    assert eswitch.counts(7).packets == 2
    # The number is free for another VF's flow.
    eswitch.add(4095, replace(UDP_FLOW, source="p0r1"), "p0r0")
    assert card.ways("p0v1", packet(UDP_FLOW)) == ["p0v0"]
    assert eswitch.counts(4095).packets == 1


@on_simulated_host("2x4")
def test_what_cannot_be_a_flow_is_refused() -> None:
    """A flow that the card cannot match is Invalid, and nothing is left of it."""
    eswitch = Eswitch()
    assert eswitch.representors() == {f"p{pf}r{vf}" for pf in (0, 1) for vf in range(4)}
    wrong = [
        (1, replace(UDP_FLOW, source="p0v0"), "p0r1"),
        (1, replace(UDP_FLOW, source="p0"), "p0r1"),
        (1, UDP_FLOW, "p0r4"),
        (0, UDP_FLOW, "p0r1"),
        (4096, UDP_FLOW, "p0r1"),
        (1, replace(UDP_FLOW, protocol=132), "p0r1"),
        (1, replace(UDP_FLOW, src="fe80::1"), "p0r1"),
        (1, replace(UDP_FLOW, dst="10.0.0.0/8"), "p0r1"),
        (1, replace(UDP_FLOW, sport=65536), "p0r1"),
        (1, replace(UDP_FLOW, dport=-1), "p0r1"),
        (1, replace(ECHO_FLOW, dport=3), "p0r1"),
    ]
    for number, match, target in wrong:
        with pytest.raises(Invalid):
            eswitch.add(number, match, target)
    eswitch.add(1, UDP_FLOW, "p1r3")
    with pytest.raises(Failed, match="flow 1 is there already"):
        eswitch.add(1, replace(TCP_FLOW, source="p0r1"), "p1r3")


@on_simulated_host()
def test_a_full_card_and_one_at_fault_take_no_flow() -> None:
    """Beyond its capacity, and while a fault is injected, a card refuses; then it takes again."""
    eswitch = Eswitch()
    assert eswitch.capacity == CAPACITY == 1024
    eswitch.capacity = 2
    flows = [replace(UDP_FLOW, sport=port) for port in range(3)]
    eswitch.add(1, flows[0], "p0r1")
    eswitch.add(2, flows[1], "p0r1")
    with pytest.raises(Failed, match="is full"):
        eswitch.add(3, flows[2], "p0r1")
    with pytest.raises(Failed, match="is full"):
        Eswitch(capacity=2).add(3, flows[2], "p0r1")
    eswitch.delete(1)
    eswitch.fail = "firmware does not answer"
    with pytest.raises(Failed, match="firmware does not answer") as caught:
        eswitch.add(3, flows[2], "p0r1")
    assert "simulated" in caught.value.where
    with pytest.raises(NotFound):
        eswitch.counts(3)
    eswitch.fail = None
    eswitch.add(3, flows[2], "p0r1")
    card = Card("p0v0", "p0r0", "p0v1")
    assert card.ways("p0v0", packet(flows[2])) == ["p0v1"]


@on_simulated_host()
def test_flows_outlive_their_process_and_a_new_one_flushes_them() -> None:
    """After SIGKILL the flows carry and count on; the next process finds them and can flush."""
    child = os.fork()
    if child == 0:
        try:
            eswitch = Eswitch()
            eswitch.add(1, UDP_FLOW, "p0r1")
            eswitch.add(2, TCP_FLOW, "p0r1")
            eswitch.add(3, replace(UDP_FLOW, source="p0r1"), "p0r0")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    card = Card("p0v0", "p0r0", "p0v1", "p0r1")
    assert card.ways("p0v0", packet(UDP_FLOW)) == ["p0v1"]
    eswitch = Eswitch()
    assert [eswitch.counts(number).packets for number in (1, 2, 3)] == [1, 0, 0]
    eswitch.flush()
    eswitch.flush()
    for flow in (UDP_FLOW, TCP_FLOW):
        assert card.ways("p0v0", packet(flow)) == ["p0r0"]
        assert card.ways("p0v1", packet(flow)) == ["p0r1"]
        assert card.ways("p0r0", packet(flow)) == ["p0v0"]
    with pytest.raises(NotFound):
        eswitch.counts(1)
    eswitch.add(1, UDP_FLOW, "p0r1")
    eswitch.close()
    assert card.ways("p0v0", packet(UDP_FLOW)) == ["p0v1"]


@on_simulated_host()
def test_a_vf_in_another_namespace_is_still_the_cards() -> None:
    """A VF that was moved away is joined to its representor, and flows from and to it work."""
    subprocess.run(["ip", "netns", "add", "forwarder"], check=True)
    # It would announce itself at a time of its own.
    within("forwarder", lambda: Path(IPV6, "all/disable_ipv6").write_text("1"))
    Links().move("p0v0", "forwarder")
    card, eswitch = Card("p0v0", "p0r0", "p0v1", "p0r1", p0v0="forwarder"), Eswitch()
    assert card.ways("p0v0", packet(UDP_FLOW)) == ["p0r0"]
    assert card.ways("p0r0", packet(UDP_FLOW)) == ["p0v0"]
    eswitch.add(1, UDP_FLOW, "p0r1")
    eswitch.add(2, replace(UDP_FLOW, source="p0r1"), "p0r0")
    assert card.ways("p0v0", packet(UDP_FLOW)) == ["p0v1"]
    assert card.ways("p0v1", packet(UDP_FLOW)) == ["p0v0"]


@on_simulated_host()
def test_a_vf_that_vanishes_takes_its_flows_along() -> None:
    """Where a VF is gone the kernel says so at the next flow; its old ones are easily deleted."""
    eswitch = Eswitch()
    eswitch.add(1, UDP_FLOW, "p0r1")
    Links().delete("p0v0")
    with pytest.raises(Failed, match="No such device"):
        eswitch.add(2, TCP_FLOW, "p0r1")
    with pytest.raises(NotFound):
        eswitch.counts(1)
    eswitch.delete(1)
    eswitch.flush()
    assert Eswitch().representors() == {f"p0r{vf}" for vf in range(1, 8)}


def test_where_there_is_no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside a simulated host there is no eswitch, and a hint how to get one."""
    monkeypatch.setattr(netns, "_NAMES", tmp_path)
    with pytest.raises(NotFound, match="simulated") as caught:
        Eswitch()
    assert "smartvif sim run" in caught.value.hint


@on_simulated_host("1x2")
def test_a_card_full_of_flows_is_counted_and_flushed() -> None:
    """A thousand flows on one VF are each found again by the next object."""
    flows = range(1, CAPACITY + 1)
    eswitch = Eswitch()
    for number in flows:
        eswitch.add(number, replace(UDP_FLOW, sport=number), "p0r1")
    card = Card("p0v0", "p0r0", "p0v1")
    for number in (1, 500, CAPACITY):
        assert card.ways("p0v0", packet(replace(UDP_FLOW, sport=number))) == ["p0v1"]
    eswitch = Eswitch()
    assert {number for number in flows if eswitch.counts(number).packets} == {1, 500, CAPACITY}
    eswitch.flush()
    assert card.ways("p0v0", packet(replace(UDP_FLOW, sport=1))) == ["p0r0"]
