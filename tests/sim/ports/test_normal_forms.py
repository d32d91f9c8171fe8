"""The other forms of mode normal, with packets: the hybrid bridge and the switch's own socket."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.control.bind_ovs import HostSwitch, bind
from smartvif.demo.demo import host_state
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.guest.xml import interface_xml
from smartvif.model.port import Network, Port
from smartvif.model.vif import Machine
from smartvif.plug.executor import plug, unplug
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.sim.guest.console import Console
from smartvif.sim.host import BRIDGE, FORWARDER, GUESTS, SOCKETS
from smartvif.sim.testing import on_simulated_host
from smartvif.switches.build_vif import build_vif
from smartvif.switches.prepare import prepare_port


def _port(bridge: str, number: int, mtu: int = 1500) -> Port:
    return Port(
        id=str(uuid.uuid4()),
        mac=f"52:54:00:00:00:{number:02x}",
        network=Network(id="net", bridge=bridge, mtu=mtu),
    )


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _ping(netns: str, address: str) -> int:
    command = ["ip", "netns", "exec", netns, "ping", "-c", "3", "-i", "0.2", "-W", "2", address]
    return subprocess.run(command, check=False, capture_output=True).returncode


def _netns(name: str, netdev: str, address: str) -> None:
    _ip("netns", "add", name)
    _ip("link", "set", netdev, "netns", name)
    _ip("-n", name, "addr", "add", f"{address}/24", "dev", netdev)
    _ip("-n", name, "link", "set", netdev, "up")


@on_simulated_host(guests=1)
def test_a_hybrid_port_carries_packets_and_leaves_nothing() -> None:
    """What is in the Linux bridge reaches the switch through the veth; unplugged, all is gone."""
    host = HostContext(settings.load())
    before = host_state(host)
    switch = HostSwitch(datapath_type="netdev", vhost_user_dir=str(SOCKETS), hybrid=True)
    vifs = []
    for number in (1, 2):
        port = _port(BRIDGE, number, mtu=1400)
        vif = build_vif(port, bind(port, switch))
        machine = Machine(uuid=str(uuid.uuid4()), name="vm")
        planned = prepare_port(vif, machine, None, switch_simulated=False)
        for _ in range(2):
            plug(planned, host.journal, host.drivers)
        assert vif.bridge_name is not None
        links = Links()
        outer = links.get(f"qvo{vif.id[:11]}")
        assert outer is not None
        assert (outer.mtu, outer.up) == (1400, True)
        # Stands where libvirt puts the guest's tap.
        links.add_veth(f"host{number}", f"guest{number}")
        links.set_master(f"host{number}", vif.bridge_name)
        links.set_up(f"host{number}")
        # The switch gets segments that nobody has summed yet: have the sender do it.
        subprocess.run(["ethtool", "-K", f"guest{number}", "tx", "off"], check=True)
        _netns(f"machine{number}", f"guest{number}", f"10.1.0.{number}")
        vifs.append(vif)
    assert _ping("machine1", "10.1.0.2") == 0
    for number, vif in enumerate(vifs, start=1):
        _ip("netns", "del", f"machine{number}")
        unplug(vif.id, host.journal, host.drivers)
        unplug(vif.id, host.journal, host.drivers)
    assert host_state(host) == before


@on_simulated_host(guests=2)
def test_a_port_with_the_switchs_own_socket_carries_packets_and_leaves_nothing() -> None:
    """A switch with DPDK connects to the guests' sockets; unplugged, all is gone."""
    host = HostContext(settings.load())
    address = f"unix:{FORWARDER}/db.sock"
    subprocess.run(
        [
            "ovs-vsctl",
            f"--db={address}",
            "add-br",
            "br-dpdk",
            "--",
            "set",
            "bridge",
            "br-dpdk",
            "datapath_type=netdev",
        ],
        check=True,
    )
    before = host_state(host)
    drivers = Drivers(
        links=Links(), switches={"ovs": OpenVSwitch(Ovsdb(address))}, guests=host.domains
    )
    switch = HostSwitch(datapath_type="netdev", vhost_user_dir=str(SOCKETS), vhost_user=True)
    consoles, vifs = [], []
    for number in (1, 2):
        vm = f"vm{number}"
        port = _port("br-dpdk", number)
        vif = build_vif(port, bind(port, switch))
        machine = Machine(uuid=host.domains.uuid(vm), name=vm)
        text = interface_xml(vif)
        guest = AttachedInterface(uuid=machine.uuid, domain=vm, mac=vif.address, xml=text)
        planned = prepare_port(vif, machine, None, switch_simulated=False)
        plug(replace(planned, plan=(*planned.plan, guest)), host.journal, drivers)
        console = Console(GUESTS / f"{vm}.agent")
        found = f"until grep -q {vif.address} /sys/class/net/eth0/address; do sleep 0.2; done"
        code, said = console.run(
            f"{found}; ip addr add 10.2.0.{number}/24 dev eth0; ip link set eth0 up"
        )
        assert code == 0, said
        consoles.append(console)
        vifs.append(vif)
    code, said = consoles[0].run("ping -c 3 -i 0.2 -W 5 10.2.0.2")
    assert code == 0, said
    for vif in vifs:
        unplug(vif.id, host.journal, drivers)
        assert vif.path is not None
        assert not Path(vif.path).exists()
    assert host_state(host) == before
