"""Nova plugs each port again when nova-compute starts: what the agents have written stays."""

from __future__ import annotations

import subprocess

from smartvif.context.host import HostContext
from smartvif.context.settings import load
from smartvif.drivers.kernel.links import Links
from smartvif.operations.repair import repair_ports
from smartvif.plug.each_port import Report
from smartvif.sim.nic import nic
from tests.support.agilio_ovs import (
    ONE,
    assert_healthy,
    assert_in_switch,
    forwarder_vif,
    on_host,
    plug,
    start_forwarder,
    switch,
    unplug,
    vif,
)

REPRESENTOR = nic.representor(0, 1)


def as_agents_do(port: str) -> None:
    """Give the port a VLAN of this host, as Neutron's agent does, and the keys of OVN."""
    words = f"set Port {port} tag=7 other_config:tag=7 -- set Interface {port}"
    words += " external_ids:ovn-installed=true external_ids:ovn-installed-ts=1700000000000"
    subprocess.run(["ovs-vsctl", *words.split()], check=True)


def agents(port: str) -> list[str]:
    """What the agents have written, and what would be another port to them."""
    columns = {"Port": ("_uuid", "tag", "other_config"), "Interface": ("_uuid", "ofport")}
    said = [
        subprocess.run(
            ["ovs-vsctl", "get", table, port, column], check=True, capture_output=True, text=True
        ).stdout.strip()
        for table, each in columns.items()
        for column in each
    ]
    found = switch().port(port)
    assert found is not None
    keys = ("ovn-installed", "ovn-installed-ts")
    return said + [found.external_ids.get(key, "lost") for key in keys]


@on_host
def test_the_agents_vlan_and_keys_survive() -> None:
    """Plugged again as it was, with the link down, with another MTU, and repaired by reconcile."""
    obj = vif("direct")
    plug(obj)
    as_agents_do(REPRESENTOR)
    before = agents(REPRESENTOR)
    assert before[1] == "7"
    assert "true" in before

    plug(obj)
    assert agents(REPRESENTOR) == before
    assert_healthy()

    Links().set_down(REPRESENTOR)
    plug(obj)
    assert agents(REPRESENTOR) == before
    assert_in_switch(REPRESENTOR)

    host = HostContext(load())
    Links().set_down(REPRESENTOR)
    assert list(repair_ports(host.journal, host.drivers).done) == [ONE]
    assert agents(REPRESENTOR) == before
    assert_in_switch(REPRESENTOR)
    assert repair_ports(host.journal, host.drivers) == Report()

    obj.network.mtu = 1400
    plug(obj)
    assert agents(REPRESENTOR) == before
    link = Links().get(REPRESENTOR)
    assert link is not None
    assert link.mtu == 1400
    assert_healthy()

    unplug(obj)
    assert switch().port(REPRESENTOR) is None


@on_host
def test_a_tap_and_a_relay_get_another_mtu() -> None:
    """The tap is the same device, the relay the same rows."""
    inside = start_forwarder()
    made = [vif("normal", vf=None, ovs_create_tap=True)]
    plug(made[0])
    tap = made[0].vif_name
    index = index_of(tap)
    made[0].network.mtu = 1400
    plug(made[0])
    link = Links().get(tap)
    assert link is not None
    assert (index_of(tap), link.mtu) == (index, 1400)
    unplug(made[0])

    relayed = forwarder_vif()
    plug(relayed)
    rows = {port.name: port.ofport for port in inside.ports()}
    relayed.network.mtu = 1400
    plug(relayed)
    found = {port.name: port for port in inside.ports()}
    assert {name: port.ofport for name, port in found.items()} == rows
    assert {port.mtu_request for port in found.values() if port.type == "dpdkvhostuserclient"} == {
        1400
    }
    assert_healthy()
    unplug(relayed)
    assert inside.ports() == ()


def index_of(name: str) -> str:
    said = subprocess.run(["ip", "-o", "link", "show", name], check=True, capture_output=True)
    return said.stdout.decode().partition(":")[0]
