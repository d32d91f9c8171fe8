"""Packets between machines on the vRouter: networks, two hosts, the card, a killed vRouter."""

from __future__ import annotations

import itertools
import re
from typing import Any

from commands import MODES, configure, document, eventually_pings, guest, host, join, pings
from test_vrouter_datapath import eventually, look, nobody_listens, set_faults

from smartvif.demo.demo import host_state
from smartvif.sim.fleet import Fleet, Member
from smartvif.sim.host import host_vrouter
from smartvif.sim.testing import on_simulated_host, on_simulated_hosts

RED = "5c0b7a52-2f0e-4c1d-9a3b-000000000001"
BLUE = "5c0b7a52-2f0e-4c1d-9a3b-000000000002"
ADDRESSES = {f"vm{number}": f"10.0.0.{number}" for number in range(1, 5)}
LONGEST = 1472  # bytes of a ping that fills an MTU of 1500 with its headers of IPv4 and ICMP
FRAME = 1514  # bytes of the frame that it is in
MANY = 1000
AT_MOST = 5  # packets of a flow that are passed on until the card does


def machine(vm: str, mode: str, network: str, address: str) -> dict[str, Any]:
    """A machine in a network, with an address there; the port."""
    port = join(vm, mode, network)
    configure(vm, port["mac"], address)
    return port


def received(vm: str, mac: str) -> int:
    """How many packets have come in by a guest's interface."""
    _, said = guest(vm).run(
        f"cat $(dirname $(grep -il {mac} /sys/class/net/*/address))/statistics/rx_packets"
    )
    return int(said)


@on_simulated_host(guests=4)
def test_machines_of_a_network_reach_each_other_and_nobody_else() -> None:
    """All modes in one network: every pair; a machine of another network hears none of it."""
    before = host_state(host())
    ports = {
        vm: machine(vm, mode, RED, ADDRESSES[vm])
        for vm, mode in zip(("vm1", "vm2", "vm3"), MODES, strict=True)
    }
    ports["vm4"] = machine("vm4", "direct", BLUE, ADDRESSES["vm4"])
    red = tuple(ADDRESSES)[:3]
    for one, other in itertools.permutations(red, 2):
        assert eventually_pings(one, ADDRESSES[other]), (one, other)
        assert pings(one, ADDRESSES[other]) == 3, (one, other)
    for vm in red:
        assert pings(vm, ADDRESSES["vm4"], count=1) == 0, vm
        assert pings("vm4", ADDRESSES[vm], count=1) == 0, vm
    assert received("vm4", ports["vm4"]["mac"]) == 0

    # The network alone kept it apart.
    document("detach", ports["vm3"]["id"])
    ports["vm3"] = machine("vm3", "virtio-forwarder", BLUE, ADDRESSES["vm3"])
    for one, other in (("vm3", "vm4"), ("vm4", "vm3")):
        assert eventually_pings(one, ADDRESSES[other]), (one, other)
    assert pings("vm3", ADDRESSES["vm1"], count=1) == 0
    for port in ports.values():
        document("detach", port["id"])
    assert host_state(host()) == before


@on_simulated_hosts(2, guests=2)
def test_a_network_spans_two_hosts(fleet: Fleet) -> None:
    """Full packets pass between all modes on two hosts, uncut; another network hears nothing."""
    here, there = fleet.hosts
    places = {
        "10.0.0.1": (here, "vm1", "virtio-forwarder"),
        "10.0.0.2": (here, "vm2", "normal"),
        "10.0.0.3": (there, "vm1", "direct"),
    }
    ports = {
        address: member.call(machine, vm, mode, RED, address)
        for address, (member, vm, mode) in places.items()
    }
    blue = there.call(machine, "vm2", "normal", BLUE, "10.0.0.4")
    for address, other in itertools.permutations(places, 2):
        member, vm, _ = places[address]
        assert member.call(eventually_pings, vm, other), (address, other)
        assert member.call(pings, vm, other, size=LONGEST) == 3, (address, other)
        assert uncut(member, address, other), (address, other)
    for address, (member, vm, _) in places.items():
        assert member.call(pings, vm, "10.0.0.4", count=1) == 0, address
        assert there.call(pings, "vm2", address, count=1) == 0, address
    assert there.call(received, "vm2", blue["mac"]) == 0

    # The network alone kept it apart.
    here.call(document, "detach", ports["10.0.0.2"]["id"])
    here.call(machine, "vm2", "normal", BLUE, "10.0.0.2")
    assert here.call(eventually_pings, "vm2", "10.0.0.4")
    assert there.call(eventually_pings, "vm2", "10.0.0.2")
    assert here.call(pings, "vm1", "10.0.0.2", count=1) == 0


def uncut(member: Member, source: str, target: str) -> bool:
    """Whether the latest pings from a host's machine were whole packets: fragments are no flow."""
    flows = member.call(look, "flows")
    *_, flow = (each for each in flows if (each["src"], each["dst"]) == (source, target))
    packets = flow["software_packets"] + flow["hardware_packets"]
    return packets == 3 and bool(flow["software_bytes"] == flow["software_packets"] * FRAME)


@on_simulated_host(guests=2)
def test_the_card_takes_over_a_flow_of_guests() -> None:
    """The vRouter passes on a flow's first packets and the card the rest; a miss is no loss."""
    ports = [
        machine(vm, mode, RED, ADDRESSES[vm])
        for vm, mode in (("vm1", "direct"), ("vm2", "virtio-forwarder"))
    ]
    assert all(port["simulated"][-1] == "vrouter" for port in ports)
    assert eventually_pings("vm1", ADDRESSES["vm2"])

    forwarded, flows = many_pings()
    for flow in flows:
        assert flow["offloaded"], flow
        assert 1 <= flow["software_packets"] <= AT_MOST
        assert flow["hardware_packets"] == MANY - flow["software_packets"]
    # The guests' ARP is no flow.
    assert forwarded <= 4 * AT_MOST

    for fault, why in (({"capacity": 0}, ""), ({"fail_hooks": "out of order"}, "out of order")):
        set_faults(**{"capacity": 8, "fail_hooks": None, **fault})
        forwarded, flows = many_pings()
        for flow in flows:
            assert (flow["software_packets"], flow["hardware_packets"]) == (MANY, 0)
            assert not flow["offloaded"]
            assert why in flow["reason"]
        assert forwarded >= 2 * MANY

    set_faults(capacity=8, fail_hooks=None)
    _, flows = many_pings()
    assert all(flow["software_packets"] <= AT_MOST for flow in flows)


def many_pings() -> tuple[int, list[dict[str, Any]]]:
    """Ping vm2 from vm1, with no loss: how many frames the vRouter passed on, and both flows."""
    before = look("totals")["forwarded"]
    _, said = guest("vm1").run(f"ping -A -q -c {MANY} {ADDRESSES['vm2']}", timeout=60.0)
    assert f"{MANY} packets transmitted, {MANY} packets received" in said.decode(), said
    # The oldest flow comes first, and these are the latest.
    there, back = look("flows")[-2:]
    assert [flow["src"] for flow in (there, back)] == [ADDRESSES["vm1"], ADDRESSES["vm2"]]
    assert there["sport"] == back["sport"]
    return look("totals")["forwarded"] - before, [there, back]


@on_simulated_host(guests=3)
def test_pings_outlive_the_vrouter() -> None:
    """Killed and started again, the vRouter has its ports, and pings that were under way go on."""
    for vm, mode in zip(("vm1", "vm2", "vm3"), MODES, strict=True):
        machine(vm, mode, RED, ADDRESSES[vm])
    begun = {"vm1": "vm2", "vm2": "vm3", "vm3": "vm1"}
    for vm, other in begun.items():
        assert eventually_pings(vm, ADDRESSES[other])
        guest(vm).run(f"ping -i 0.2 {ADDRESSES[other]} >/tmp/pings 2>&1 &")
    for vm in begun:
        goes_on(vm)

    host_vrouter().kill()
    assert nobody_listens()
    assert pings("vm1", ADDRESSES["vm2"], count=1) == 0
    goes_on("vm2")  # the card has that flow
    host_vrouter().start()
    for vm in begun:
        goes_on(vm)
    eventually(lambda: any(flow["hardware_packets"] for flow in look("flows")))
    assert [port["health"] for port in document("ports")["ports"]] == ["ok"] * 3


def goes_on(vm: str) -> None:
    """The ping that was begun in a machine gets three more answers."""
    enough = answers(vm) + 3
    eventually(lambda: answers(vm) >= enough, lambda: guest(vm).run("tail -n 3 /tmp/pings"))


def answers(vm: str) -> int:
    """How many answers the ping that was begun in a machine has got."""
    _, said = guest(vm).run("cat /tmp/pings")
    return len(re.findall(rb"bytes from", said))
