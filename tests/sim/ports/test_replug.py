"""Ports of running machines that are plugged again with other values: traffic goes on."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from smartvif.context.host import HostContext
from smartvif.drivers.kernel.links import Links
from smartvif.operations.reconcile import reconcile
from smartvif.plug.each_port import Report
from smartvif.plug.executor import PortPlan, plug
from smartvif.plug.steps.links import Tap
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings
from smartvif.plug.steps.step import Plan, Step
from smartvif.sim.guest.ping import Pinging
from smartvif.sim.host import FORWARDER_NETNS
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import (
    attach,
    configure,
    document,
    eventually_pings,
    guest,
    host,
    smartvif,
)

ONE, TWO = "10.0.0.1", "10.0.0.2"
LOST = {"virtio-forwarder": 3, "normal": 1, "direct": 50}
"""The packets of 100 a second that may be lost while a port is plugged again.

What stands in for passthrough is made again; a VF that a guest has would not be touched.
"""


def changed(step: Step, *, mtu: int, tag: int | None) -> Step:
    """The step with another MTU, and as a switch port with another VLAN and identifier."""
    if isinstance(step, SwitchPort):
        ids = {**step.spec.external_ids, "iface-id": "renamed"}
        return replace(step, mtu=mtu, spec=replace(step.spec, external_ids=ids, tag=tag))
    if isinstance(step, ForwarderRelay):
        return replace(step, spec=replace(step.spec, mtu=mtu))
    if isinstance(step, SimulatedVfSettings | SimulatedPassthrough):
        return replace(step, mtu=mtu)
    return step


def plug_again(port: str, here: HostContext, steps: Plan) -> None:
    record = here.journal.port(port)
    assert record is not None
    planned = PortPlan(port=port, plan=steps, facts=record.facts)
    plug(planned, here.journal, here.drivers)


def steps_of(port: str, here: HostContext) -> Plan:
    return tuple(entry.step for entry in here.journal.entries(port))


def identity(port: dict[str, Any], here: HostContext) -> tuple[object, ...]:
    """What a machine would lose: its tap, its port's row and number, its socket."""
    row = vsctl("--columns=_uuid,ofport", "list", "Interface", port["switch_port"])
    tap = Path(f"/sys/class/net/tap{port['id'][:11]}/ifindex")
    socket = Path(port["socket"]).stat().st_ino if port["socket"] else None
    return row, tap.read_text() if tap.exists() else None, socket


def vsctl(*words: str) -> str:
    done = subprocess.run(["ovs-vsctl", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def peers() -> dict[str, Any]:
    """vm1 on a tap of VLAN 10, which stays as it is."""
    peer = attach("vm1", "normal", "--vlan", "10")
    configure("vm1", peer["mac"], ONE)
    return peer


@on_simulated_host(guests=2)
def test_each_mode_gets_another_mtu_under_traffic() -> None:
    """Tap, row, number and socket stay, pings go on, and the host has the new values."""
    peers()
    for mode, lost in LOST.items():
        port = attach("vm2", mode, "--vlan", "10")
        configure("vm2", port["mac"], TWO)
        assert eventually_pings("vm2", ONE), mode
        here = host()
        before, old = identity(port, here), steps_of(port["id"], here)
        new = tuple(changed(step, mtu=1400, tag=10) for step in old)
        assert new != old
        pinging = Pinging(guest("vm2"), ONE)
        time.sleep(1)
        plug_again(port["id"], here, new)
        time.sleep(2)
        found = pinging.stop()
        assert found.lost <= lost, (mode, found)
        assert identity(port, here) == before, mode
        assert steps_of(port["id"], here) == new
        assert mtu(port["switch_port"]) == 1400
        if port["socket"]:
            assert mtu("p0v0", FORWARDER_NETNS) == 1400
        assert vsctl("get", "Interface", port["switch_port"], "external_ids:iface-id") == "renamed"
        assert smartvif("ports").code == 0
        assert reconcile(here) == Report()
        plug_again(port["id"], here, tuple(changed(step, mtu=1400, tag=20) for step in old))
        assert identity(port, here) == before
        assert not eventually_pings("vm2", ONE, seconds=3)
        document("detach", port["id"])


def mtu(name: str, netns: str | None = None) -> int:
    found = Links(netns).get(name)
    assert found is not None
    return found.mtu


@on_simulated_host(guests=1)
def test_a_tap_that_is_open_is_not_made_anew() -> None:
    """More queues wait until the machine is stopped; the machine keeps its tap."""
    port = attach("vm1", "normal")
    configure("vm1", port["mac"], ONE)
    here = host()
    before, old = identity(port, here), steps_of(port["id"], here)
    tap, *others = old
    assert isinstance(tap, Tap)
    plug_again(port["id"], here, (replace(tap, multi_queue=True), *others))
    assert identity(port, here) == before
    assert steps_of(port["id"], here) == old
    assert document("ports")["ports"][0]["health"] == "ok"


@on_simulated_host(guests=2)
def test_a_socket_that_a_machine_serves_outlives_its_relay() -> None:
    """After an unplug and a plug of the host's side the machine is back by itself."""
    peers()
    port = attach("vm2", "virtio-forwarder", "--vlan", "10")
    configure("vm2", port["mac"], TWO)
    here = host()
    relay = steps_of(port["id"], here)[2]
    socket = Path(port["socket"]).stat().st_ino
    relay.undo(here.drivers, {})
    assert Path(port["socket"]).stat().st_ino == socket
    assert list(reconcile(here).done) == [port["id"]]
    assert eventually_pings("vm2", ONE)
    document("detach", port["id"])
    assert not Path(port["socket"]).exists()


CHANGES = [
    "clear Port {} tag",
    "set Port {} tag=200",
    "set Port {} tag=4095",
    "set Port {} vlan_mode=trunk trunks=5,6",
    "set Port {} vlan_mode=native-untagged",
    "set Port {} vlan_mode=dot1q-tunnel",
]


@on_simulated_host(guests=1)
def test_a_vlan_that_was_changed_is_told_and_restored() -> None:
    """With a VLAN and without one; ``ports`` exits with 1, and reconcile restores all columns."""
    for options, tag, changes in (
        (("--vlan", "100"), "100", CHANGES),
        ((), "[]", CHANGES[1:]),
    ):
        port = attach("vm1", "normal", *options)
        name = port["switch_port"]
        for change in changes:
            vsctl(*change.format(name).split())
            said = smartvif("ports")
            assert said.code == 1, change
            assert list(reconcile(host()).done) == [port["id"]], change
            columns = [vsctl("get", "Port", name, each) for each in ("tag", "trunks", "vlan_mode")]
            assert columns == [tag, "[]", "[]"], change
            assert smartvif("ports").code == 0
        document("detach", port["id"])


@on_simulated_host(guests=1)
def test_a_requested_mtu_is_withdrawn() -> None:
    """The row is brought to what was asked for, the link keeps its MTU; once, and not each time."""
    port = attach("vm1", "direct")
    name = port["switch_port"]
    vsctl("set", "Interface", name, "mtu_request=1300")
    said = smartvif("ports")
    assert (said.code, "mtu_request" in said.out) == (1, True), said
    assert list(reconcile(host()).done) == [port["id"]]
    assert (mtu(name), vsctl("get", "Interface", name, "mtu_request")) == (1500, "[]")
    assert smartvif("ports").code == 0
    assert reconcile(host()) == Report()


@on_simulated_host(guests=1)
def test_a_link_is_repaired_without_its_row() -> None:
    """Other programs' keys and columns stay, and the row is not written."""
    port = attach("vm1", "direct", "--vlan", "100")
    name = port["switch_port"]
    vsctl(
        *f"set Port {name} other_config:tag=7 --".split(),
        *f"set Interface {name} external_ids:ovn-installed=true".split(),
    )
    before = row(name)
    subprocess.run(["ip", "link", "set", name, "down"], check=True)
    assert list(reconcile(host()).done) == [port["id"]]
    assert row(name) == before
    assert smartvif("ports").code == 0


def row(name: str) -> list[str]:
    columns = ("_uuid", "external_ids", "options", "mtu_request", "ofport")
    interface = [vsctl("get", "Interface", name, column) for column in columns]
    return [*interface, vsctl("list", "Port", name)]
