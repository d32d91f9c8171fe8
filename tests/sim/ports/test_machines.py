"""A machine is its UUID, and its interface is the one that a port's step made."""

from __future__ import annotations

import subprocess
from pathlib import Path

from smartvif.demo.demo import host_state
from smartvif.sim.fleet import Fleet
from smartvif.sim.testing import on_simulated_host, on_simulated_hosts
from tests.support.commands import attach, document, guest, host, netdev, smartvif
from tests.support.vrouter import eventually

STRANGER = (
    "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>"
    "<os><type arch='x86_64'>hvm</type></os></domain>"
)
STANDBY = (
    "<interface type='user'><mac address='{mac}'/><model type='virtio'/>"
    "<teaming type='persistent'/><alias name='ua-standby'/></interface>"
)


def virsh(*words: str) -> str:
    """What virsh prints."""
    done = subprocess.run(["virsh", *words], check=True, capture_output=True, text=True)
    return done.stdout


def define(name: str) -> None:
    """A machine of another owner's, which is off."""
    Path("/run/stranger.xml").write_text(STRANGER.format(name=name))
    virsh("define", "/run/stranger.xml")


def add_standby(vm: str, mac: str) -> None:
    """A virtio interface with that MAC address, as its owner makes for a net_failover pair."""
    Path("/run/standby.xml").write_text(STANDBY.format(mac=mac))
    virsh("attach-device", vm, "/run/standby.xml", "--live", "--config")


def interfaces(vm: str) -> list[tuple[str, str | None, bool, bool]]:
    """A machine's interfaces: their type, source, and whether they are there now and at a start."""
    return [
        (each.kind, each.source, each.live, each.persistent)
        for each in host().domains.interfaces(vm)
    ]


@on_simulated_host(guests=1)
def test_a_machine_with_another_name() -> None:
    """Every command acts on the machine and says its present name; one with the old name stays."""
    before = host_state(host())
    port = attach("vm1", "normal")
    tap = port["switch_port"]
    virsh("destroy", "vm1")
    virsh("domrename", "vm1", "web1")
    define("vm1")
    assert [each["vm"] for each in document("ports")["ports"]] == ["web1"]
    assert [each["vm"] for each in document("map")["ways"]] == ["web1"]
    shown = document("show", port["id"])
    assert (shown["vm"], len(shown["guest"])) == ("web1", 1)
    assert "vm1" not in str(shown["steps"])
    assert document("reconcile")["ports"] == {}
    virsh("detach-interface", "web1", "ethernet", "--mac", port["mac"], "--config")
    assert "machine web1: not in the machine's definition" in smartvif("ports", "-f", "json").out
    words = "do again: attach the interface to guest web1"
    assert document("reconcile", "--dry-run")["ports"] == {port["id"]: words}
    assert document("reconcile")["ports"] == {port["id"]: words}
    assert interfaces("web1") == [("ethernet", tap, False, True)]
    assert interfaces("vm1") == []
    virsh("start", "web1")
    document("detach", port["id"])
    assert interfaces("web1") == interfaces("vm1") == []
    virsh("destroy", "web1")
    virsh("start", "web1")
    virsh("undefine", "vm1")
    virsh("destroy", "web1")
    virsh("domrename", "web1", "vm1")
    assert host_state(host()) == before


@on_simulated_host(guests=2)
def test_a_machine_that_is_gone() -> None:
    """It is said with what frees its VF, reconcile says the same, and one called so stays as is."""
    port, other = attach("vm1", "direct"), attach("vm2", "normal")
    uuid = host().domains.uuid("vm1")
    virsh("destroy", "vm1")
    virsh("undefine", "vm1")
    define("vm1")
    found = {each["vm"]: each for each in document("ports", code=1)["ports"]}
    gone, freed = f"its machine vm1 ({uuid}) is gone", f"smartvif detach frees VF {port['vf']}"
    assert (found["vm1"]["health"], found["vm2"]["health"]) == (f"{gone}: {freed}", "ok")
    assert "✗ its machine vm1" in smartvif("map").out
    subprocess.run(["ovs-vsctl", "del-port", other["switch_port"]], check=True)
    for words in (("reconcile", "--dry-run"), ("reconcile",)):
        answer = document(*words, code=1)
        failed = answer["failed"][port["id"]]
        assert (failed["what"], failed["hint"]) == (gone, freed)
        assert list(answer["ports"]) == [other["id"]]
    assert document("show", port["id"], code=1)["guest"] == []
    document("detach", port["id"])
    assert interfaces("vm1") == []
    assert [each["vm"] for each in document("ports")["ports"]] == ["vm2"]
    assert port["vf"] not in str(document("map")["ways"])


@on_simulated_host(guests=1)
def test_another_owners_interface_with_the_same_address() -> None:
    """It is neither shown, nor repaired, nor detached, and a port may be attached beside it."""
    port = attach("vm1", "normal")
    add_standby("vm1", port["mac"])
    assert len(document("show", port["id"])["guest"]) == 1
    assert document("reconcile", "--dry-run")["ports"] == {}
    netdev("vm1", port["mac"])
    virsh("detach-device-alias", "vm1", "net0", "--live")
    eventually(lambda: smartvif("ports").code == 1)  # once the guest has released it
    health = document("ports", code=1)["ports"][0]["health"]
    assert health.endswith("not in the running machine, wanted there")
    assert port["id"] in document("reconcile")["ports"]
    document("detach", port["id"])
    standby = [("user", None, True, True)]
    assert interfaces("vm1") == standby
    beside = attach("vm1", "normal", "--mac", port["mac"])
    assert beside["mac"] == port["mac"]
    answer = smartvif(
        "attach", "--vm", "vm1", "--mode", "normal", "--bridge", "br-int", "--mac", port["mac"]
    )
    assert answer.code == 4, answer
    assert len(interfaces("vm1")) == 2
    document("detach", beside["id"])
    assert interfaces("vm1") == standby


@on_simulated_host(guests=1)
def test_a_link_that_is_set_down() -> None:
    """The port is ok, and its link is down."""
    port = attach("vm1", "normal")
    (shown,) = document("show", port["id"])["guest"]
    assert shown["link_up"] is True
    virsh("domif-setlink", "vm1", port["switch_port"], "down")
    assert smartvif("ports").out.count("link down") == 1
    (shown,) = document("show", port["id"])["guest"]
    assert shown["link_up"] is False
    document("detach", port["id"])
    assert interfaces("vm1") == []


@on_simulated_hosts(2, nic="2x4", guests=(1, 0))
def test_both_move_with_the_machine(fleet: Fleet) -> None:
    """A machine with another name moves by it: its port is the port's, its standby the owner's."""
    one, other = fleet.hosts
    one.call(guest, "vm1")
    port = one.call(attach, "vm1", "normal")
    one.call(add_standby, "vm1", port["mac"])
    assert one.call(document, "migrate", "--vm", "vm1", "--to", "host2")["failed"] == {}
    moved = [("ethernet", port["switch_port"], True, True), ("user", None, True, True)]
    assert other.call(interfaces, "vm1") == moved
    assert [each["health"] for each in other.call(document, "ports")["ports"]] == ["ok"]
    assert other.call(document, "reconcile")["ports"] == {}
    other.call(document, "detach", port["id"])
    assert other.call(interfaces, "vm1") == [("user", None, True, True)]
