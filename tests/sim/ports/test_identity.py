"""Ports follow their VF, whatever its netdevs are called; all commands judge them alike."""

from __future__ import annotations

import subprocess

from smartvif.demo.demo import host_state
from smartvif.sim.host import BRIDGE
from smartvif.sim.testing import on_simulated_host, settled
from tests.support.commands import attach, configure, document, host, pings, smartvif

ADDRESSES = {"vm1": "10.0.0.1", "vm2": "10.0.0.2", "vm3": "10.0.0.3"}
OVS = {"vm1": ("direct", "10"), "vm2": ("direct", "20"), "vm3": ("normal", "10")}


def ip(*words: str) -> None:
    subprocess.run(["ip", "link", "set", *words], check=True)


def rename(old: str, new: str) -> None:
    """Give a link another name, as udev does."""
    ip(old, "down")
    ip(old, "name", new)
    ip(new, "up")


def exchange(one: str, other: str) -> None:
    """Have two links change names."""
    for old, new in ((one, "between"), (other, one), ("between", other)):
        rename(old, new)
    settled()


def health(code: int) -> dict[str, str]:
    """What ``ports`` says of each port, by machine."""
    return {port["vm"]: port["health"] for port in document("ports", code=code)["ports"]}


def foreseen() -> set[str]:
    """The ports that ``reconcile --dry-run`` would do something for."""
    return set(document("reconcile", "--dry-run")["ports"])


def ill(code: int) -> set[str]:
    """The ports that ``ports`` does not call ok."""
    found = document("ports", code=code)["ports"]
    return {port["id"] for port in found if port["health"] != "ok"}


@on_simulated_host(guests=3)
def test_representors_that_exchange_their_names() -> None:
    """Each guest is in its own VLAN again, and in no other's; nothing else is left."""
    before = host_state(host())
    ports = {vm: attach(vm, mode, "--vlan", vlan) for vm, (mode, vlan) in OVS.items()}
    for vm, port in ports.items():
        configure(vm, port["mac"], ADDRESSES[vm])
    one, other = ports["vm1"]["switch_port"], ports["vm2"]["switch_port"]
    assert pings("vm3", ADDRESSES["vm1"]) == 3
    exchange(one, other)
    assert pings("vm3", ADDRESSES["vm1"]) == 0
    for vm, wanted, used in (("vm1", other, one), ("vm2", one, other)):
        vf = ports[vm]["vf"]
        assert health(1)[vm] == f"representor of VF {vf}: {used} is used, wanted {wanted}"
    assert foreseen() == ill(1) == {ports["vm1"]["id"], ports["vm2"]["id"]}
    assert smartvif("reconcile").code == 0
    assert set(health(0).values()) == {"ok"}
    assert document("reconcile", "--dry-run")["ports"] == {}
    assert pings("vm3", ADDRESSES["vm1"]) == 3
    assert pings("vm3", ADDRESSES["vm2"], count=2) == 0
    assert pings("vm2", ADDRESSES["vm1"], count=2) == 0
    exchange(one, other)
    assert smartvif("reconcile").code == 0
    assert pings("vm3", ADDRESSES["vm1"]) == 3
    for port in ports.values():
        document("detach", port["id"])
    assert host_state(host()) == before


@on_simulated_host(guests=2)
def test_a_representor_with_another_name() -> None:
    """It is told, the port is moved to the new name, and packets pass."""
    ports = {vm: attach(vm, "direct") for vm in ("vm1", "vm2")}
    for vm, port in ports.items():
        configure(vm, port["mac"], ADDRESSES[vm])
    rename(ports["vm1"]["switch_port"], "enp3s0f0r0")
    settled()
    assert "wanted enp3s0f0r0" in health(1)["vm1"]
    ways = {way["vm"]: way["switch_port"] for way in document("map")["ways"]}
    assert ways["vm1"] == "enp3s0f0r0"
    assert smartvif("reconcile").code == 0
    assert set(health(0).values()) == {"ok"}
    assert pings("vm1", ADDRESSES["vm2"]) == 3
    for port in ports.values():
        document("detach", port["id"])
    assert set(host().drivers.switch("ovs").netdevs()) == {BRIDGE}


@on_simulated_host(guests=2)
def test_a_representor_that_is_gone() -> None:
    """It is told, reconcile fails with the reason, and other ports are repaired all the same."""
    gone, other = attach("vm1", "direct"), attach("vm2", "direct")
    subprocess.run(["ip", "netns", "add", "elsewhere"], check=True)
    ip(gone["switch_port"], "netns", "elsewhere")
    settled()
    subprocess.run(["ovs-vsctl", "del-port", other["switch_port"]], check=True)
    assert ill(1) == {gone["id"], other["id"]}
    assert health(1)["vm1"].startswith(f"representor of VF {gone['vf']}: ")
    answer = smartvif("reconcile")
    assert answer.code == 1, answer
    assert other["id"] in answer.out
    assert answer.err.startswith(gone["id"])
    assert f"representor of VF {gone['vf']}" in answer.err
    assert "sriov_numvfs" in answer.err
    foreseen = document("reconcile", "--dry-run", code=1)
    assert (foreseen["ports"], list(foreseen["failed"])) == ({}, [gone["id"]])
    assert ill(1) == {gone["id"]}


@on_simulated_host(guests=1)
def test_what_is_shown_is_what_is_repaired() -> None:
    """A tap's MTU and a guest's interface are differences to ports and to reconcile alike."""
    vm = "vm1"
    port = attach(vm, "normal")
    assert foreseen() == ill(0) == set()
    tap = port["switch_port"]
    breaks = (
        (["ip", "link", "set", tap, "mtu", "1400"], f"MTU of link {tap}: 1400, wanted 1500"),
        (["ip", "link", "set", tap, "down"], f"link {tap}: down, wanted up"),
        (
            ["virsh", "detach-interface", vm, "ethernet", "--mac", port["mac"], "--live"],
            f"interface {port['mac']} of machine {vm}: not in the running machine, wanted there",
        ),
        (
            ["virsh", "detach-interface", vm, "ethernet", "--mac", port["mac"], "--config"],
            f"interface {port['mac']} of machine {vm}: not in the machine's definition,"
            " wanted there",
        ),
        (["ovs-vsctl", "del-port", tap], f"switch port {tap}: not in the switch, wanted on bridge"),
    )
    for command, words in breaks:
        subprocess.run(command, check=True, capture_output=True)
        assert health(1)[vm].startswith(words)
        assert foreseen() == ill(1) == {port["id"]}
        assert smartvif("reconcile").code == 0
        assert foreseen() == ill(0) == set()
