"""A machine moves between two simulated hosts and back: its traffic, what is left, what is said."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

from smartvif.demo.demo import NETWORK
from smartvif.sim.fleet import Fleet
from smartvif.sim.guest.ping import Pinging, Replies
from smartvif.sim.host import BRIDGE, CONFIG, FORWARDER
from smartvif.sim.nic.nic import representor
from smartvif.sim.testing import on_simulated_hosts
from tests.support.commands import attach, document, guest, guests, join, refused, smartvif
from tests.support.migration import (
    HERE,
    TRANSPARENT,
    answered,
    everything,
    give_address,
    healthy,
    in_vm1,
    links,
    set_up_vm1,
    set_up_vm2,
    settled,
)

_CHECK = ("migrate", "--vm", "vm1", "--to", "host2", "--check")


def start_pings(addresses: list[str]) -> dict[str, Pinging]:
    """Have vm2 ping these addresses from now on."""
    return {address: Pinging(guest("vm2"), address) for address in addresses}


def stop_pings(running: dict[str, Pinging]) -> dict[str, Replies]:
    """End the pings; what came of each."""
    return {address: ping.stop() for address, ping in running.items()}


def move(there: str) -> str:
    """Move vm1 by the command; what it told."""
    moved = smartvif("migrate", "--vm", "vm1", "--to", there)
    assert moved.code == 0, moved
    return moved.err


def show(title: str, found: dict[str, Replies]) -> None:
    """Tell a person how the pings went."""
    for address, replies in found.items():
        gap = f"{replies.longest_gap * 1000:.0f} ms"
        print(f"{title}: {address}: {replies.lost} of {replies.sent} lost, longest gap {gap}")


@on_simulated_hosts(2, nic="2x4", guests=(2, 0))
def test_a_machine_goes_there_and_back(fleet: Fleet) -> None:
    """Ports that can move do so unnoticed, a direct one is attached anew; no host keeps a trace."""
    one, other = fleet.hosts
    set_up = one.call(attach, "vm2", "normal")
    one.call(set_up_vm2, set_up)
    before = {member.name: member.call(everything) for member in fleet.hosts}
    ports = one.call(set_up_vm1, tuple(HERE), attach)
    one.call(in_vm1, "echo mine >/tmp/whose")
    kept = [ports[mode]["mac"] for mode in TRANSPARENT]
    seen = one.call(settled, kept)
    addresses = [HERE[mode] for mode in TRANSPARENT]
    for source, target in ((one, other), (other, one)):
        running = one.call(start_pings, addresses)
        told = source.call(move, target.name)
        assert all(one.call(answered, address) for address in addresses)
        found = one.call(stop_pings, running)
        show(f"{source.name} → {target.name}", found)
        # How many is shown and not judged: it depends on how busy the processors are.
        assert all(0 < each.received <= each.sent for each in found.values())

        assert f"direct port {ports['direct']['id'][:8]} is detached" in told
        assert target.call(links, kept) == seen
        assert target.call(in_vm1, "cat /tmp/whose") == "mine\n"
        target.call(give_address, ports["direct"]["mac"], HERE["direct"])
        assert one.call(answered, HERE["direct"])
        vfs = target.call(healthy)
        assert {port["id"] for port in ports.values()} <= vfs.keys()
        assert len({vf for vf in vfs.values() if vf}) == 2
        if target is other:
            assert list(one.call(healthy)) == [set_up["id"]]
        assert source.call(everything) == before[source.name]

    one.call(move, other.name)
    for port in ports.values():
        other.call(document, "detach", port["id"])
    assert other.call(healthy) == {}
    assert other.call(everything) == before["host2"]


def join_network(vm: str, mode: str) -> dict[str, Any]:
    """Attach a machine to the virtual network."""
    return join(vm, mode, NETWORK)


@on_simulated_hosts(2, nic="1x4", guests=(2, 0))
def test_a_machine_of_the_vrouter_goes_there_and_back(fleet: Fleet) -> None:
    """Over VXLAN its peer reaches it on either host, and neither host keeps a trace."""
    one, other = fleet.hosts
    one.call(set_up_vm2, one.call(join_network, "vm2", "normal"))
    before = {member.name: member.call(everything) for member in fleet.hosts}
    ports = one.call(set_up_vm1, TRANSPARENT, join_network)
    macs = [port["mac"] for port in ports.values()]
    seen = one.call(settled, macs)
    addresses = [HERE[mode] for mode in TRANSPARENT]
    for source, target in ((one, other), (other, one)):
        running = one.call(start_pings, addresses)
        source.call(move, target.name)
        assert all(one.call(answered, address) for address in addresses)
        found = one.call(stop_pings, running)
        show(f"vRouter: {source.name} → {target.name}", found)
        assert all(0 < each.received <= each.sent for each in found.values())
        assert target.call(links, macs) == seen
        assert {port["id"] for port in ports.values()} <= target.call(healthy).keys()
        assert not source.call(everything) - before[source.name]


def problems(*, code: int = 1) -> dict[str, str | None]:
    """What ``--check`` says is in the way, by mode; the machine's own problem is "vm"."""
    found = document(*_CHECK, code=code)
    assert found.keys() == {"schema", "vm", "problem", "ports"}
    assert (found["schema"], found["vm"]) == ("smartvif.migrate-check/1", "vm1")
    for port in found["ports"]:
        assert port.keys() == {"id", "mode", "transparent", "problem"}
        assert port["transparent"] is (port["mode"] in TRANSPARENT)
    return {"vm": found["problem"]} | {port["mode"]: port["problem"] for port in found["ports"]}


def take_vfs(*numbers: int) -> None:
    """Have something else use these VFs of the host's only PF."""
    for each in numbers:
        subprocess.run(["ovs-vsctl", "add-port", BRIDGE, representor(0, each)], check=True)


def free_vfs(*numbers: int) -> None:
    """Undo ``take_vfs``."""
    for each in numbers:
        subprocess.run(["ovs-vsctl", "del-port", BRIDGE, representor(0, each)], check=True)


def without_forwarder() -> str:
    """Have the host's configuration name no forwarder; what it said before."""
    text = CONFIG.read_text()
    CONFIG.write_text(text.replace(f'database = "unix:{FORWARDER}/db.sock"\n', ""))
    return text


def forwarder_pid() -> int:
    """The process that takes the forwarder's orders on the host that this runs on."""
    return int((FORWARDER / "ovsdb-server.pid").read_text())


@on_simulated_hosts(2, nic="1x3", guests=(1, 0))
def test_readiness(fleet: Fleet) -> None:
    """What is in the way is said port by port before anything is changed, and by the exit code."""
    one, other = fleet.hosts
    for mode in HERE:
        one.call(attach, "vm1", mode)
    before = {member.name: member.call(everything) for member in fleet.hosts}
    fine = {"vm": None, **dict.fromkeys(HERE)}
    assert one.call(problems, code=0) == fine
    table = one.call(smartvif, *_CHECK)
    assert (table.code, table.err) == (0, "")
    assert table.out.count("moves with the machine") == 2
    assert table.out.count("detached here, attached there") == 1

    # One VF is free: the first that needs it would get it, and the second has none.
    other.call(take_vfs, 0, 1)
    found = one.call(problems)
    assert [mode for mode, problem in found.items() if problem] == ["direct"]
    assert "none of 3 VFs is suitable" in str(found["direct"])
    refused(one.call(smartvif, *_CHECK[:-1]), 4, "none of 3 VFs is suitable")
    other.call(take_vfs, 2)
    found = one.call(problems)
    assert [mode for mode, problem in found.items() if problem] == ["virtio-forwarder", "direct"]
    other.call(free_vfs, 0, 1, 2)

    configured = other.call(without_forwarder)
    found = one.call(problems)
    assert [mode for mode, problem in found.items() if problem] == ["virtio-forwarder"]
    assert "no forwarder is configured" in str(found["virtio-forwarder"])
    other.call(CONFIG.write_text, configured)

    stopped = other.call(forwarder_pid)
    os.kill(stopped, signal.SIGSTOP)
    found = one.call(problems)
    assert [mode for mode, problem in found.items() if problem] == ["virtio-forwarder"]
    os.kill(stopped, signal.SIGCONT)

    there = one.call(smartvif, *_CHECK[:-2], "host3", "--check")
    refused(there, 3, "there is no simulated host 'host3'")
    assert one.call(problems, code=0) == fine
    assert {member.name: member.call(everything) for member in fleet.hosts} == before

    one.call(stop_vm1)
    found = one.call(problems)
    assert "does not run" in str(found.pop("vm"))
    refused(one.call(smartvif, *_CHECK[:-1]), 4, "does not run")


def stop_vm1() -> None:
    """Switch vm1 off."""
    guests().stop("vm1")


def make_bridge() -> None:
    """Make a bridge of userspace's."""
    words = ["add-br", "br-ext", "--", "set", "bridge", "br-ext", "datapath_type=netdev"]
    subprocess.run(["ovs-vsctl", *words], check=True)


def attach_to_bridge() -> None:
    """Give vm1 a port on that bridge."""
    document("attach", "--vm", "vm1", "--mode", "normal", "--bridge", "br-ext")


@on_simulated_hosts(2, guests=(1, 1))
def test_what_is_not_or_is_there_already(fleet: Fleet) -> None:
    """A bridge that the other host lacks, and a machine of the same name, are in the way."""
    one, other = fleet.hosts
    one.call(make_bridge)
    one.call(attach_to_bridge)
    before = {member.name: member.call(everything) for member in fleet.hosts}
    found = one.call(problems)
    assert found["vm"] == "host2: there is a machine called vm1 already"
    assert "there is no bridge 'br-ext'" in str(found["normal"])
    moved = one.call(smartvif, *_CHECK[:-1])
    refused(moved, 4, "a machine called vm1 already; .*no bridge 'br-ext'")
    assert {member.name: member.call(everything) for member in fleet.hosts} == before
    other.call(make_bridge)
    assert one.call(problems)["normal"] is None
