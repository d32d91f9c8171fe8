"""``vrouter-port-control`` on a simulated host, with the simulated vRouter as its agent."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from smartvif.cli import port_control
from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.host.sriov import SYSFS
from smartvif.operations.repair import repair_ports
from smartvif.plug.each_port import Report
from smartvif.sim.host import FORWARDER_NETNS, SOCKETS, forwarder_switch, host_vrouter
from smartvif.sim.nic.nic import representor, vf_address, vf_netdev
from smartvif.sim.testing import on_simulated_host

PORTS = {
    "normal": "0d9a1b2c-0000-4a5b-8c6d-7e8f90a1b2c0",
    "direct": "0d9a1b2c-0001-4a5b-8c6d-7e8f90a1b2c1",
    "virtio-forwarder": "0d9a1b2c-0002-4a5b-8c6d-7e8f90a1b2c2",
}
VM = "11111111-1111-4111-8111-111111111111"
NETWORK = "22222222-2222-4222-8222-222222222222"
MAC = "52:54:00:00:00:0{}"


def add(vnic_type: str, vf: int = 0, **changed: str) -> int:
    """Add a port as Nova's plugin would; the exit code."""
    number = list(PORTS).index(vnic_type)
    asked = {
        "oper": "add",
        "uuid": PORTS[vnic_type],
        "instance_uuid": VM,
        "vn_uuid": NETWORK,
        "ipv6_address": "None",
        "vm_name": f"vm {vnic_type}",
        "mac": MAC.format(number),
        "tap_name": f"tap-{number}",
        **(offload(vnic_type, vf) if vnic_type != "normal" else {}),
        **changed,
    }
    return port_control.run([f"--{name}={value}" for name, value in asked.items()])


def offload(vnic_type: str, vf: int) -> dict[str, str]:
    """What the plugin adds for a port with a VF."""
    socket = {
        "vif_type": "VhostUser",
        "vhostuser_socket": str(SOCKETS / "guest.sock"),
        "vhostuser_mode": "1",
    }
    return {
        "vnic_type": vnic_type,
        "pci_dev": str(vf_address(0, vf)),
        **(socket if vnic_type == "virtio-forwarder" else {}),
    }


def delete(vnic_type: str) -> int:
    """Delete a port by its identifier alone."""
    return port_control.run(["--oper=delete", f"--uuid={PORTS[vnic_type]}"])


def host() -> HostContext:
    """The host, opened anew."""
    return HostContext(settings.load())


def shown(vnic_type: str) -> dict[str, Any] | None:
    """What the agent says of a port."""
    return host().drivers.need(VRouterAgent).port(PORTS[vnic_type])


def everything() -> set[str]:
    """The links as they are, the port files, the journal's ports and the relays."""
    found = set()
    for where, links in (("host", Links()), ("forwarder", Links(FORWARDER_NETNS))):
        found |= {f"{where}: {links.get(name)}" for name in links.names()}
        links.close()
    here = host()
    relays = OpenVSwitch(Ovsdb(forwarder_switch(1).address))
    found |= {f"forwarder: {port.name}" for port in relays.ports()}
    found |= {f"file: {port}" for port in here.drivers.need(VRouterAgent).files.netdevs().values()}
    return found | {f"journal: {record.id}" for record in here.journal.ports()}


def start_forwarder() -> None:
    """The forwarder, which a host without guests lacks."""
    subprocess.run(["ip", "netns", "add", FORWARDER_NETNS], check=True)
    forwarder_switch(1).start()


@on_simulated_host("1x4")
def test_every_vnic_type() -> None:
    """The agent has each port by its netdev's real name, which is up; ``delete`` leaves nothing."""
    start_forwarder()
    before = everything()
    for vf, vnic_type in enumerate(PORTS):
        netdev = "tap-0" if vnic_type == "normal" else representor(0, vf)
        assert [add(vnic_type, vf) for _ in range(2)] == [0, 0]
        told = shown(vnic_type)
        assert told is not None
        assert (told["system-name"], told["vn-id"]) == (netdev, NETWORK)
        assert told["vhostuser-mode"] == int(vnic_type == "virtio-forwarder")
        link = Links().get(netdev)
        assert link.up if link is not None else vnic_type == "normal"
        record = host().journal.port(PORTS[vnic_type])
        assert record is not None
        assert record.facts.mode == vnic_type
        assert record.facts.switch_port == netdev
        assert record.facts.vm == f"vm {vnic_type}"
    # The forwarder has the VF now.
    assert Links().get(vf_netdev(0, 2)) is None
    for vnic_type in PORTS:
        assert [delete(vnic_type) for _ in range(3)] == [0, 0, 0]
        assert shown(vnic_type) is None
    assert everything() == before


@on_simulated_host("1x4")
def test_vfs_that_cannot_be_had() -> None:
    """A VF in use, one that is none, a card without representors: 1, and all is as it was."""
    start_forwarder()
    before = everything()
    assert add("direct", vf=0) == 0
    taken = everything()
    assert add("virtio-forwarder", vf=0) == 1
    assert add("virtio-forwarder", pci_dev="0000:03:00.0") == 1
    assert add("virtio-forwarder", pci_dev="0000:04:1f.7") == 1
    assert everything() == taken
    assert delete("direct") == 0
    for switch_id in SYSFS.glob("class/net/*/phys_switch_id"):
        switch_id.write_text("")
    assert add("direct", vf=1) == 1
    assert everything() == before


@on_simulated_host("1x2")
def test_an_agent_that_comes_and_goes() -> None:
    """A tap's port waits in its file for the agent; a port with a VF does not, and survives it."""
    start_forwarder()
    agent = host_vrouter()
    before = everything()
    agent.kill()
    assert add("normal") == 0
    assert add("direct") == 5
    assert everything() == before | {f"file: {PORTS['normal']}", f"journal: {PORTS['normal']}"}
    agent.start()
    assert shown("normal") is not None
    assert [add("normal"), add("direct")] == [0, 0]
    agent.kill()
    agent.start()
    for vnic_type in ("normal", "direct"):
        assert shown(vnic_type) is not None
    assert repair_ports(host().journal, host().drivers, dry_run=True) == Report()
    agent.kill()
    assert [delete(vnic_type) for vnic_type in ("normal", "direct")] == [0, 0]
    assert everything() == before
    agent.start()
    assert [shown(vnic_type) for vnic_type in ("normal", "direct")] == [None, None]


@on_simulated_host("1x2")
def test_the_agent_refuses_a_port_with_a_vf() -> None:
    """The last to be asked says no: 4, and the VF and its representor are as they were."""
    start_forwarder()
    before = everything()
    assert add("direct", rx_vlan_id="10", tx_vlan_id="65534") == 4
    assert everything() == before


@on_simulated_host("1x2")
def test_the_command_as_nova_runs_it() -> None:
    """As a process, with a name that would once have been options; nothing of libvirt is needed."""
    name = "x --tap_name=evil0"
    words = ["--oper=add", f"--uuid={PORTS['normal']}", f"--instance_uuid={VM}"]
    words += [f"--vn_uuid={NETWORK}", f"--vm_name={name}", f"--mac={MAC.format(0)}"]
    program = "from smartvif.cli.port_control import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--tap_name=tap-0"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    files = host().drivers.need(VRouterAgent).files
    document = files.read(PORTS["normal"])
    assert document is not None
    assert (document["display-name"], document["system-name"]) == (name, "tap-0")
