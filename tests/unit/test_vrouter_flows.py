"""What the simulated vRouter decides without a kernel: flows, addresses, VNIs, faults."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.model.errors import Failed, Invalid
from smartvif.sim.nic.eswitch import NUMBERS, Counts, Eswitch, Match
from smartvif.sim.vrouter import bridge, tunnel
from smartvif.sim.vrouter.bridge import ForwardingTable
from smartvif.sim.vrouter.flows import ICMP, TCP, UDP, FlowKey, FlowTable, TrackedFlow, parse
from smartvif.sim.vrouter.introspect import read_faults
from smartvif.sim.vrouter.messages import NIL, AgentPortMessage, AgentPortType
from smartvif.sim.vrouter.offload import CardOffload, OffloadTracker
from smartvif.sim.vrouter.vif import VRouterInterface
from smartvif.sim.vrouter.vifs import refusal

ONE, TWO = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
NETWORK = UUID("00000000-0000-0000-0000-0000000000aa")


def ipv4(
    protocol: int,
    payload: bytes,
    *,
    first: int = 0x45,
    fragment: int = 0,
    to: bytes = TWO,
    dst: bytes = b"\x0a\0\0\x02",
    trailer: bytes = b"",
) -> bytes:
    """An Ethernet frame with an IPv4 packet from 10.0.0.1."""
    length = 20 + len(payload)
    header = struct.pack("!BBHHHBBH", first, 0, length, 1, fragment, 64, protocol, 0)
    return to + ONE + b"\x08\0" + header + b"\x0a\0\0\x01" + dst + payload + trailer


def udp(sport: int = 1000, dport: int = 2000, **changes: object) -> bytes:
    """A frame of a UDP flow."""
    return ipv4(UDP, struct.pack("!HHHH", sport, dport, 8, 0), **changes)  # type: ignore[arg-type]


def echo(kind: int, identifier: int = 77) -> bytes:
    """A frame of an ICMP message."""
    return ipv4(ICMP, struct.pack("!BBHHH", kind, 0, 0, identifier, 1))


def test_a_flow_is_what_packets_have_in_common() -> None:
    """TCP and UDP have ports; an echo has its identifier and its type in their places."""
    ends = ("10.0.0.1", "10.0.0.2")
    assert parse("vif", udp()) == FlowKey("vif", UDP, *ends, 1000, 2000)
    tcp = ipv4(TCP, struct.pack("!HH16x", 22, 65535))
    assert parse("vif", tcp) == FlowKey("vif", TCP, *ends, 22, 65535)
    assert parse("vif", echo(8)) == FlowKey("vif", ICMP, *ends, 77, 8)
    assert parse("vif", echo(0)) == FlowKey("vif", ICMP, *ends, 77, 0)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        udp()[:41],
        udp(first=0x46),
        udp(first=0x65),
        udp(fragment=0x2000),
        udp(fragment=0x0001),
        udp(to=b"\xff" * 6),
        udp(to=b"\x01\0\x5e\0\0\x01"),
        udp(dst=b"\xe0\0\0\x01"),
        udp()[:12] + b"\x86\xdd" + udp()[14:],
        ipv4(UDP, b"1234567", trailer=bytes(30)),
        ipv4(TCP, bytes(19)),
        ipv4(47, bytes(40)),
        echo(3),
    ],
    ids=[
        "empty",
        "cut",
        "options",
        "version 6",
        "first fragment",
        "later fragment",
        "broadcast",
        "multicast frame",
        "multicast address",
        "other type",
        "short, with padding",
        "short TCP",
        "GRE",
        "ICMP error",
    ],
)
def test_all_else_is_of_no_flow(frame: bytes) -> None:
    """Fragments, options, groups, other protocols and broken packets are of no flow."""
    assert parse("vif", frame) is None


def test_a_dont_fragment_packet_is_no_fragment() -> None:
    """The bit that forbids fragments does not make one."""
    assert parse("vif", udp(fragment=0x4000)) is not None


@given(st.binary(max_size=120))
def test_any_bytes_can_be_looked_at(frame: bytes) -> None:
    """No frame breaks the parser."""
    parse("vif", frame)


@given(st.integers(0, 41), st.integers(0, 255), st.integers(0, 60))
def test_a_damaged_packet_can_be_looked_at(offset: int, value: int, length: int) -> None:
    """A packet with any byte changed, and cut anywhere, breaks nothing and has lawful numbers."""
    frame = bytearray(udp(trailer=bytes(18)))
    frame[offset] = value
    key = parse("vif", bytes(frame[:length]))
    if key is not None:
        assert 0 <= key.sport <= 0xFFFF
        assert 0 <= key.dport <= 0xFFFF
        assert key.protocol in {ICMP, TCP, UDP}


def key(vif: str = "a", sport: int = 1) -> FlowKey:
    """Some flow's key."""
    return FlowKey(vif, UDP, "10.0.0.1", "10.0.0.2", sport, 9)


class Watched:
    """A table of two flows, and what it told of."""

    def __init__(self) -> None:
        self.made: list[TrackedFlow] = []
        self.ended: list[TrackedFlow] = []
        self.table = FlowTable(made=self.made.append, ended=self.ended.append, capacity=2)


def test_a_flow_counts_from_its_first_packet() -> None:
    """One flow is made and told of once; every packet counts."""
    watched = Watched()
    for _ in range(3):
        watched.table.count(key(), "b", TWO, 100)
    (flow,) = watched.table
    assert (flow.packets, flow.bytes) == (3, 300)
    assert watched.made == [flow]
    assert watched.ended == []


def test_the_oldest_flow_makes_room() -> None:
    """A full table ends its oldest flow and tells of it; numbers are never used again."""
    watched = Watched()
    for sport in (1, 2, 3):
        watched.table.count(key(sport=sport), "b", TWO, 100)
    assert [flow.key.sport for flow in watched.table] == [2, 3]
    assert [flow.key.sport for flow in watched.ended] == [1]
    assert [flow.number for flow in watched.made] == [1, 2, 3]


@pytest.mark.parametrize(("target", "mac"), [("c", TWO), ("b", ONE)], ids=["vif", "address"])
def test_a_flow_that_goes_elsewhere_is_another(target: str, mac: bytes) -> None:
    """With another target or address the flow ends, and is made anew."""
    watched = Watched()
    watched.table.count(key(), "b", TWO, 100)
    watched.table.count(key(), target, mac, 100)
    (flow,) = watched.table
    assert (flow.target, flow.mac, flow.packets) == (target, mac, 1)
    assert [flow.number for flow in watched.ended] == [1]


def test_flows_end_with_their_vifs() -> None:
    """With a vif go the flows from it and the flows to it, and no others."""
    for vif, left in (("a", []), ("b", []), ("c", ["a"])):
        watched = Watched()
        watched.table.count(key("a"), "b", TWO, 100)
        watched.table.end_vif(vif)
        assert [flow.key.vif for flow in watched.table] == left


def test_flows_end_when_their_address_moves() -> None:
    """Only flows for that address end, and only those of the network's own vifs."""
    for mac, vifs, left in ((TWO, {"a"}, 0), (ONE, {"a"}, 1), (TWO, {"x"}, 1)):
        watched = Watched()
        watched.table.count(key("a"), "b", TWO, 100)
        watched.table.end_address(mac, frozenset(vifs))
        assert len(watched.table) == left


def vif(name: str, mac: bytes | None = ONE) -> VRouterInterface:
    """A vif that no netdev belongs to; without an address, a tunnel's."""
    return VRouterInterface(id=name, netdev=name, network=NETWORK, mac=mac)


def test_addresses_are_learned_and_forgotten() -> None:
    """A learned address is where it was last heard, until that vif goes."""
    table, one, two = ForwardingTable(), vif("one"), vif("two")
    assert table.find(TWO) is None
    assert not table.learn(TWO, one)
    assert not table.learn(TWO, one)
    assert table.find(TWO) is one
    assert table.learn(TWO, two)
    assert table.find(TWO) is two
    table.forget(two)
    assert table.find(TWO) is None


def test_no_neighbour_takes_a_ports_address() -> None:
    """A port's own address is known from the start; another port of the host cannot take it."""
    table, one, two = ForwardingTable(), vif("one"), vif("two")
    table.own(ONE, one)
    assert table.find(ONE) is one
    assert not table.learn(ONE, two)
    assert table.find(ONE) is one


def test_a_machine_may_move() -> None:
    """A port's own address is learned behind a tunnel, and is back when the port speaks again."""
    table, one, other_host = ForwardingTable(), vif("one"), vif("tunnel", None)
    table.own(ONE, one)
    assert table.learn(ONE, other_host)
    assert table.find(ONE) is other_host
    assert table.learn(ONE, one)
    assert table.find(ONE) is one


@pytest.mark.parametrize("mac", [bytes(6), b"\xff" * 6, b"\x01\0\x5e\0\0\x01"])
def test_groups_are_nobodys_address(mac: bytes) -> None:
    """No vif is learned to have a group's address, or none."""
    table = ForwardingTable()
    assert not table.learn(mac, vif("one"))
    assert table.find(mac) is None


def test_learned_addresses_are_bounded() -> None:
    """The oldest learned address is forgotten for a new one; a port's own never is."""
    table, one, two = ForwardingTable(), vif("one"), vif("two")
    table.own(ONE, two)
    macs = [b"\x02\0" + struct.pack("!I", number) for number in range(bridge.ADDRESSES + 1)]
    for mac in macs:
        table.learn(mac, one)
    assert table.find(macs[0]) is None
    assert table.find(macs[1]) is one
    assert table.find(ONE) is two


class Card:
    """An offload that takes all or, while ``fails``, refuses; ``on_candidates`` is what it took."""

    def __init__(self) -> None:
        self.fails = False
        self.told: list[str] = []

    def tell(self, what: str) -> None:
        """Take it, or refuse."""
        if self.fails:
            raise Failed("out of order", where="card")
        self.told.append(what)

    def soft_reset(self) -> None:
        self.tell("reset")

    def interface_add(self, vif: VRouterInterface) -> None:
        self.tell(f"add {vif.id}")

    def interface_del(self, vif: VRouterInterface) -> None:
        self.tell(f"del {vif.id}")

    def flow_set(self, flow: TrackedFlow) -> None:
        self.tell(f"set {flow.number}")

    def flow_del(self, flow: TrackedFlow) -> None:
        self.tell(f"unset {flow.number}")

    def flow_stats(self, flow: TrackedFlow) -> Counts:
        return Counts(packets=flow.number, bytes=0)


def offered() -> tuple[Card, OffloadTracker, TrackedFlow]:
    """A card that has two vifs, and a flow between them."""
    card = Card()
    offers = OffloadTracker(card)
    for name in ("a", "b"):
        offers.enter(vif(name))
    card.told.clear()
    return card, offers, TrackedFlow(number=1, key=key(), target="b", mac=TWO)


def test_a_flow_is_set_and_taken_back() -> None:
    """The card hears of a flow when it is made and when it ends."""
    card, offers, flow = offered()
    offers.make(flow)
    assert flow.miss is None
    offers.end(flow)
    assert card.told == ["set 1", "unset 1"]


def test_a_refused_flow_is_a_miss() -> None:
    """A flow that the card refuses says why, and the card hears no more of it."""
    card, offers, flow = offered()
    card.fails = True
    offers.make(flow)
    assert flow.miss == "card: out of order"
    card.fails = False
    offers.end(flow)
    assert card.told == []


@pytest.mark.parametrize("name", ["a", "b"])
def test_flows_of_a_refused_vif_are_not_offered(name: str) -> None:
    """Both ends must be the card's; a vif that it does not have is not taken back."""
    card, offers, flow = offered()
    offers.leave(vif(name))
    card.fails = True
    offers.enter(vif(name))
    card.fails = False
    card.told.clear()
    offers.make(flow)
    offers.leave(vif(name))
    assert flow.miss == "card: out of order"
    assert card.told == []


def test_what_is_not_given_up_is_asked_for_again() -> None:
    """A flow that the card will not give up is asked for until it does, and then no more."""
    card, offers, flow = offered()
    offers.make(flow)
    card.fails = True
    offers.end(flow)
    offers.end_again()
    assert offers.stuck == [flow]
    card.fails = False
    offers.end_again()
    offers.end_again()
    assert offers.stuck == []
    assert card.told == ["set 1", "unset 1"]


class FewNumbers:
    """An eswitch that takes everything; ``flows`` are its numbers."""

    def __init__(self) -> None:
        self.flows: set[int] = set()

    def representors(self) -> frozenset[str]:
        return frozenset({"a", "b"})

    def add(self, number: int, match: Match, target: str) -> None:
        assert (match.source, target) == ("a", "b")
        assert number in NUMBERS
        assert number not in self.flows
        self.flows.add(number)

    def delete(self, number: int) -> None:
        self.flows.remove(number)

    def flush(self) -> None:
        self.flows.clear()


def test_the_cards_numbers_are_used_again() -> None:
    """The card has fewer numbers than there will be flows; when all are in use, it is a miss."""
    eswitch = FewNumbers()
    card = CardOffload(cast("Eswitch", eswitch))
    for name in ("a", "b"):
        card.interface_add(vif(name))
    flows = [TrackedFlow(number=n, key=key(), target="b", mac=TWO) for n in range(2 * len(NUMBERS))]
    for flow in flows:
        card.flow_set(flow)
        card.flow_del(flow)
    assert eswitch.flows == set()
    for flow in flows[: len(NUMBERS)]:
        card.flow_set(flow)
    with pytest.raises(Failed):
        card.flow_set(flows[-1])
    card.soft_reset()
    assert eswitch.flows == set()


PORT = AgentPortMessage(
    id="00000000-0000-0000-0000-000000000001",
    instance_id=NIL,
    vn_id=str(NETWORK),
    vm_project_id=NIL,
    display_name="vm1",
    ip_address="10.0.0.1",
    ip6_address="::",
    type=AgentPortType.VM,
    system_name="tap1",
    mac_address="52:54:00:00:00:01",
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"type": AgentPortType.NAMESPACE}, ""),
        ({"type": AgentPortType.REMOTE}, "it has no netdev on this host"),
        ({"rx_vlan": 7}, "VLANs are not simulated"),
        ({"tx_vlan": 7}, "VLANs are not simulated"),
        ({"mac_address": "00:00:00:00:00:00"}, "it has no MAC address"),
        ({"link_state": 0}, "it is disabled"),
    ],
)
def test_what_is_not_simulated_is_said(change: dict[str, Any], reason: str) -> None:
    """A port that this vRouter cannot serve says why, rather than half work."""
    assert refusal(replace(PORT, **change)) == reason


def test_the_vni_is_the_end_of_the_networks_name() -> None:
    """It is the same on all hosts, and fits into 24 bits."""
    assert tunnel.vni(UUID("ffffffff-ffff-ffff-ffff-ffffff123456")) == 0x123456
    assert tunnel.name(0xAB) == "vrx0000ab"


def test_faults_are_read() -> None:
    """What is named is set; numbers, texts and nothing keep their kinds."""
    assert read_faults(b'{"capacity": 0, "fail_hooks": "add", "delay": 1}') == {
        "capacity": 0,
        "fail_hooks": "add",
        "delay": 1.0,
    }
    assert read_faults(b'{"fail_hooks": null, "answer": [500, "no"], "drop": true}') == {
        "fail_hooks": None,
        "answer": (500, "no"),
        "drop": True,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"capacity": -1}',
        b'{"capacity": true}',
        b'{"delay": "long"}',
        b'{"answer": 500}',
        b'{"drop": 1}',
        b'{"colour": "red"}',
        b"\xff",
    ],
)
def test_what_is_no_fault_is_refused(body: bytes) -> None:
    """A fault that is not known or cannot be is an error, not silence."""
    with pytest.raises(Invalid):
        read_faults(body)
