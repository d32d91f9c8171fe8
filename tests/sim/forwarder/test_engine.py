"""The forwarder's engine itself, on a host without guests, and what it cannot take."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from smartvif.demo.demo import host_state
from smartvif.drivers.forwarder.engine import EngineCapacity, RelaySpec
from smartvif.drivers.forwarder.ovs_dpdk import RELAYS, OvsDpdkEngine
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.errors import CannotTell, Failed
from smartvif.model.pci import PciAddress
from smartvif.sim.host import BRIDGE, FORWARDER, FORWARDER_NETNS, SOCKETS, forwarder_switch
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import host, refused, smartvif

ONE = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
# Its name begins as the other one's.
TWO = "0d9a1b2c-3e5f-4a5b-8c6d-7e8f90a1b2c4"
SIMULATED = RelaySpec(port_id=ONE, socket=f"{SOCKETS}/one.sock", mtu=1450, netdev="p0v0")
REAL = RelaySpec(
    port_id=TWO,
    socket=f"{SOCKETS}/two.sock",
    mtu=9000,
    pci=PciAddress.parse("0000:05:00.7"),
    queues=2,
)


def started() -> tuple[OvsDpdkEngine, Links]:
    """An engine for two relays, and the host's links."""
    subprocess.run(["ip", "netns", "add", FORWARDER_NETNS], check=True)
    forwarder_switch(2).start()
    switch = OpenVSwitch(Ovsdb(forwarder_switch(2).address))
    return OvsDpdkEngine(switch, netns=FORWARDER_NETNS), Links()


@on_simulated_host("1x2")
def test_a_relay_comes_and_goes() -> None:
    """Added twice and removed twice; in between all that can be asked of it is answered."""
    engine, links = started()
    assert engine.capacity() == EngineCapacity(relays=0, most=2, hugepages=False)
    assert not engine.matches(SIMULATED)
    for _ in range(2):
        engine.add(SIMULATED, links)
        assert engine.matches(SIMULATED)
        assert engine.capacity().relays == 1
    assert engine.relay_spec(ONE) == SIMULATED
    assert list(engine.states()) == [ONE]
    state = engine.state(ONE)
    assert state == engine.states()[ONE]
    assert state is not None
    assert (state.failure, state.link_up) == (None, False)
    counted = engine.statistics(ONE)
    assert counted is not None
    assert (counted.to_guest.packets, counted.from_guest.packets) == (0, 0)
    assert (engine.statistics(TWO), engine.state(TWO), engine.relay_spec(TWO)) == (None, None, None)
    for _ in range(2):
        engine.remove(SIMULATED)
        assert not engine.matches(SIMULATED)
        assert engine.state(ONE) is None
        assert links.get("p0v0") is not None
    assert engine.ovs.ports() == ()


@on_simulated_host("1x2")
def test_a_relay_that_is_to_be_another() -> None:
    """With another socket or MTU it is not the one, and adding makes it the one."""
    engine, links = started()
    engine.add(SIMULATED, links)
    for changed in (replace(SIMULATED, mtu=9000), replace(SIMULATED, socket=f"{SOCKETS}/2.sock")):
        assert not engine.matches(changed)
        engine.add(changed, links)
        assert engine.matches(changed)
        assert engine.relay_spec(ONE) == changed
    assert engine.capacity().relays == 1


@on_simulated_host("1x2")
def test_a_real_vf() -> None:
    """It is a port of DPDK's with the VF's address, queues and MTU; OVS's words are the error."""
    engine, links = started()
    with pytest.raises(Failed, match=r"did not take 'vf-0d9a1b2c-3e': .*0000:05:00\.7") as caught:
        engine.add(REAL, links)
    assert REAL.socket in caught.value.hint
    assert engine.relay_spec(TWO) == REAL
    assert not engine.matches(REAL)
    engine.remove(REAL)
    assert engine.ovs.ports() == ()


@on_simulated_host("1x2")
def test_a_bridge_that_is_anothers() -> None:
    """A bridge of the relay's name that another port has stays, and the relay is not made."""
    engine, links = started()
    engine.add(SIMULATED, links)
    with pytest.raises(Failed, match="OVSDB refused"):
        engine.add(REAL, links)
    engine.remove(REAL)
    assert engine.matches(SIMULATED)
    assert engine.capacity().relays == 1


@on_simulated_host("1x2")
def test_statistics_of_a_forwarder_elsewhere() -> None:
    """They are asked beside the database's socket: without one nobody can tell."""
    engine, links = started()
    engine.add(SIMULATED, links)
    # The connection stays open, as to a server far away.
    engine.ovs.db.address = "tcp:192.0.2.1:6640"
    with pytest.raises(CannotTell, match="only from a forwarder on this host"):
        engine.statistics(ONE)


@on_simulated_host("1x1")
def test_a_database_that_nobody_set_up() -> None:
    """Of a forwarder that was never configured nobody can tell what it has room for."""
    FORWARDER.mkdir()
    forwarder_switch(1).start_database()
    switch = OpenVSwitch(Ovsdb(forwarder_switch(1).address))
    with pytest.raises(CannotTell, match="has not been initialized"):
        OvsDpdkEngine(switch, netns=FORWARDER_NETNS).capacity()


@on_simulated_host(guests=1)
def test_what_is_looked_at_before_a_port_is_attached() -> None:
    """No directory, none for relays: an error, and nothing is changed."""
    before = host_state(host())
    words = ("attach", "--vm", "vm1", "--mode", "virtio-forwarder", "--bridge", BRIDGE)
    address = forwarder_switch(1).address
    ids = ["ovs-vsctl", f"--db={address}", "set", "Open_vSwitch", "."]
    subprocess.run([*ids, f"external_ids:{RELAYS}=0"], check=True)
    refused(smartvif(*words), 4, "it has memory for 0 relays, and has 0")
    subprocess.run([*ids, f"external_ids:{RELAYS}=1"], check=True)
    extra = 'other_config:dpdk-extra="-m 192"'
    subprocess.run([*ids, extra], check=True)
    refused(smartvif(*words), 1, "from huge pages, and the host has none")
    assert host_state(host()) == before
    SOCKETS.rmdir()
    refused(smartvif(*words), 1, f"sockets is not there: {SOCKETS}")
