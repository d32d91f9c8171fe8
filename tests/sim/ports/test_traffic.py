"""Packets between machines that the command attached: after a boot, in VLANs, after restarts."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

from smartvif.demo.demo import host_state
from smartvif.drivers.kernel.links import Links
from smartvif.sim.guest import libvirtd
from smartvif.sim.host import (
    FORWARDER,
    FORWARDER_NETNS,
    LIBVIRT,
    OPENVSWITCH,
    forwarder_switch,
    host_switch,
)
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import (
    MODES,
    attach,
    configure,
    document,
    eventually_pings,
    guest,
    guests,
    host,
    netdev,
    pings,
)

JUMBO = 9000
MACS = {f"vm{number}": f"52:54:00:00:00:0{number}" for number in (1, 2, 3)}
ADDRESSES = {f"vm{number}": f"10.0.0.{number}" for number in (1, 2, 3)}


@on_simulated_host(guests=2)
def test_a_machine_attached_while_stopped_boots_with_its_interfaces() -> None:
    """In each mode a stopped machine takes a port, and has it working when it is started."""
    peer = attach("vm1", "normal")
    configure("vm1", peer["mac"], ADDRESSES["vm1"])
    guests().stop("vm2")
    before = host_state(host())
    ports = [attach("vm2", mode) for mode in MODES]
    guests().start("vm2")
    for port in ports:
        # One at a time: a machine answers for all its addresses on all its interfaces.
        name = configure("vm2", port["mac"], ADDRESSES["vm2"])
        assert eventually_pings("vm2", ADDRESSES["vm1"]), port["mode"]
        guest("vm2").run(f"ip addr flush dev {name}; ip link set {name} down")
    for port in ports:
        document("detach", port["id"])
    assert host_state(host()) == before


@on_simulated_host(guests=3)
def test_vlan_mtu_and_mac_are_what_packets_meet() -> None:
    """VLANs part machines in all modes; 8000 bytes pass where the MTU is 9000; the MAC is given."""
    ports = {
        vm: jumbo_port(vm, mode, vlan=20 if vm == "vm3" else 10)
        for vm, mode in zip(MACS, MODES, strict=True)
    }
    vf_of = {vm: f"p0v{int(port['vf'][-1])}" for vm, port in ports.items() if port["vf"]}
    assert link_mac(vf_of["vm2"]) == MACS["vm2"]
    assert link_mac(vf_of["vm3"], FORWARDER_NETNS) == MACS["vm3"]

    assert pings("vm1", ADDRESSES["vm2"], size=8000) == 3
    assert pings("vm2", ADDRESSES["vm1"], size=8000) == 3
    for one, other in (("vm1", "vm3"), ("vm3", "vm1"), ("vm3", "vm2"), ("vm2", "vm3")):
        assert pings(one, ADDRESSES[other], count=2) == 0, (one, other)

    # The VLAN alone kept it apart.
    document("detach", ports["vm3"]["id"])
    jumbo_port("vm3", "virtio-forwarder", vlan=10)
    for one, other in itertools.permutations(ADDRESSES, 2):
        assert pings(one, ADDRESSES[other], size=8000) == 3, (one, other)


def jumbo_port(vm: str, mode: str, *, vlan: int) -> dict[str, Any]:
    """A port of the machine with MTU 9000, and its interface configured in the guest."""
    options = ("--vlan", str(vlan), "--mtu", str(JUMBO), "--mac", MACS[vm].upper())
    port = attach(vm, mode, *options)
    assert port["mac"] == MACS[vm]
    name = netdev(vm, MACS[vm])
    _, mtu = guest(vm).run(f"cat /sys/class/net/{name}/mtu")
    # libvirt cannot tell the MTU to a guest behind a forwarder: that guest has to set its own.
    told = mode != "virtio-forwarder"
    assert int(mtu) == (JUMBO if told else 1500)
    configure(vm, MACS[vm], ADDRESSES[vm], mtu=None if told else JUMBO)
    return port


def link_mac(name: str, netns: str | None = None) -> str:
    """The MAC address of a netdev of the host."""
    links = Links(netns)
    link = links.get(name)
    links.close()
    assert link is not None
    return link.mac


@on_simulated_host(guests=3)
def test_ports_outlive_restarts_of_all_daemons() -> None:
    """After libvirtd, OVS and the forwarder are killed and started again, all works by itself."""
    before = host_state(host())
    ports = []
    for vm, mode in zip(ADDRESSES, MODES, strict=True):
        ports.append(attach(vm, mode))
        configure(vm, ports[-1]["mac"], ADDRESSES[vm])
    all_work()
    attached = host_state(host())

    kill(LIBVIRT / "run" / "libvirt" / "libvirtd.pid")
    libvirtd.start(LIBVIRT)
    all_work()

    kill(OPENVSWITCH / "ovs-vswitchd.pid")
    kill(OPENVSWITCH / "ovsdb-server.pid")
    host_switch().start_database()
    host_switch().start_vswitchd()
    all_work()

    kill(FORWARDER / "ovs-vswitchd.pid")
    kill(FORWARDER / "ovsdb-server.pid")
    forwarder_switch(3).start_database()
    forwarder_switch(3).start_vswitchd()
    all_work()

    assert host_state(host()) == attached
    for port in ports:
        document("detach", port["id"])
    assert host_state(host()) == before


def kill(pid_file: Path) -> None:
    """End a daemon that has no time to put anything in order."""
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def all_work() -> None:
    """Every machine reaches every other one, and every port is said to work."""
    for one, other in itertools.permutations(ADDRESSES, 2):
        assert eventually_pings(one, ADDRESSES[other]), (one, other)
    ports = document("ports")["ports"]
    assert [(port["health"], port["link_up"]) for port in ports] == [("ok", True)] * 3
    for port in ports:
        shown = document("show", port["id"])
        assert [(each["live"], each["persistent"]) for each in shown["guest"]] == [(True, True)]
