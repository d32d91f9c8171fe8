"""The plugin agilio_ovs under os_vif, with VIFs by Nova's own converter, on a simulated host."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import os_vif
import pytest
from os_vif.exception import PlugException, UnplugException
from os_vif.objects import vif as osv
from os_vif.objects.network import Network
from oslo_config import cfg

from smartvif.context.host import HostContext
from smartvif.context.settings import load
from smartvif.control import names
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.model.errors import Failed
from smartvif.operations.reconcile import reconcile
from smartvif.plug.each_port import Report
from smartvif.sim.host import (
    BRIDGE,
    FORWARDER,
    FORWARDER_NETNS,
    OPENVSWITCH,
    SOCKETS,
    STATE,
    forwarder_switch,
    host_switch,
)
from smartvif.sim.nic import nic
from tests.support.agilio_ovs import (
    MAC,
    MTU,
    NETWORK,
    ONE,
    OTHER,
    assert_healthy,
    assert_in_switch,
    configure,
    forwarder_vif,
    links,
    on_host,
    plug,
    rows,
    start_forwarder,
    switch,
    unplug,
    vif,
)
from tests.support.checkout import CHECKOUT

DOC = CHECKOUT / "docs" / "reference" / "os-vif.md"


@on_host
def test_direct() -> None:
    """A direct VIF puts the representor of its VF into the switch, and unplug puts all back."""
    before = rows(), links()
    obj = vif("direct")
    assert type(obj) is osv.VIFHostDevice
    plug(obj)
    assert_in_switch("p0r1")
    vf = Links().get("p0v1")
    assert vf is not None
    assert vf.mac == MAC
    assert_healthy()
    unplug(obj)
    assert (rows(), links()) == before


@on_host
def test_virtio_forwarder() -> None:
    """A forwarder's VIF has a relay too; plugged twice it is one, and unplug takes it away."""
    forwarder = start_forwarder()
    before = rows(), links()
    obj = forwarder_vif()
    assert type(obj) is osv.VIFVHostUser
    for _ in range(2):
        plug(obj)
        assert_in_switch("p0r1")
        assert "p0v1" not in links()
        relay = {port.name: port for port in forwarder.ports() if port.bridge == f"fwd-{ONE[:11]}"}
        assert relay.keys() == {f"fwd-{ONE[:11]}", f"vhu-{ONE[:11]}", "p0v1"}
        assert all(port.failure is None and port.owner == ONE for port in relay.values())
    assert_healthy()
    for _ in range(3):
        unplug(obj)
        assert forwarder.ports() == ()
        assert (rows(), links()) == before


@on_host
def test_normal() -> None:
    """A VIF without a VF is a tap in the switch, with several queues where it asks for them."""
    before = rows(), links()
    obj = vif("normal", vf=None, ovs_create_tap=True)
    assert type(obj) is osv.VIFOpenVSwitch
    obj.port_profile.multiqueue = True
    plug(obj)
    assert_in_switch(names.tap(ONE))
    flags = subprocess.run(
        ["ip", "-d", "link", "show", names.tap(ONE)], capture_output=True, text=True, check=True
    )
    assert "multi_queue" in flags.stdout
    assert_healthy()
    unplug(obj)
    assert (rows(), links()) == before


@on_host
def test_hybrid() -> None:
    """A VIF behind a packet filter is a Linux bridge, joined to the switch by a veth."""
    before = rows(), links()
    obj = vif("normal", vf=None, ovs_hybrid_plug=True)
    assert type(obj) is osv.VIFBridge
    plug(obj)
    assert_in_switch(names.hybrid_veth(ONE)[1])
    assert names.hybrid_bridge(ONE) in links()
    assert_healthy()
    unplug(obj)
    assert (rows(), links()) == before


@on_host
def test_a_tap_of_the_hypervisors() -> None:
    """A tap that libvirt will make is awaited, taken with its MTU, and awaited when it is gone."""
    before = rows(), links()
    tap = names.tap(ONE)
    obj = vif("normal", vf=None)
    host = Links()
    for _ in range(2):
        plug(obj)
        found = switch().port(tap)
        assert found is not None
        assert (found.owner, found.bridge) == (ONE, BRIDGE)
        assert found.failure == f"could not open network device {tap} (No such device)"
        assert links() == before[1]
        assert reconcile(HostContext(load())) == Report()
    host.add_tap(tap)
    wait_until(tap, "ofport>0", f"mtu={MTU}", "error=[]")
    plug(obj)
    assert_healthy()
    host.delete(tap)
    wait_until(tap, "mtu=[]")
    plug(obj)
    host.add_tap(tap)
    wait_until(tap, f"mtu={MTU}")
    unplug(obj)
    host.delete(tap)
    assert (rows(), links()) == before


def wait_until(interface: str, *conditions: str) -> None:
    """Wait until Open vSwitch says so of an interface."""
    wait = ["ovs-vsctl", "--timeout=20", "wait-until", "interface", interface, *conditions]
    subprocess.run(wait, check=True)


@on_host
def test_an_awaited_port_that_cannot_be() -> None:
    """That a netdev is absent is the one thing that may be wrong with an awaited port."""
    spec = OvsPortSpec(bridge=BRIDGE, name=names.tap(ONE), owner=ONE, type="nonsense", awaited=True)
    with pytest.raises(Failed, match=r"did not take port .*could not open network"):
        switch().add_port(spec)


@on_host
def test_a_port_of_libvirts() -> None:
    """A VIF that libvirt plugs itself needs the bridge and nothing else; what we had made goes."""
    before = rows(), links()
    obj = vif("normal", vf=None)
    plug(obj)
    obj.port_profile.create_port = False
    for _ in range(2):
        plug(obj)
        assert (rows(), links()) == before
        assert HostContext(load()).journal.ports() == ()
    unplug(obj)
    assert (rows(), links()) == before
    obj.bridge_name = "br-none"
    with pytest.raises(PlugException, match="no bridge 'br-none'"):
        plug(obj)


@on_host
def test_a_lost_journal() -> None:
    """Without the journal unplug takes away what the switch and the forwarder know to be ours."""
    forwarder = start_forwarder()
    plug(vif("direct", OTHER, 2))
    before = rows(), links().keys()
    for obj in (vif("normal", vf=None, ovs_create_tap=True), forwarder_vif()):
        plug(obj)
        assert (rows(), links().keys()) != before
        configure(state_path=f"{STATE}/{obj.obj_name()}")
        os_vif.initialize(reset=True)
        for _ in range(3):
            unplug(obj)
            assert (rows(), links().keys()) == before
            assert forwarder.ports() == ()


@on_host
def test_again_and_again() -> None:
    """Plugged twice is once; unplugged three times, and before it was plugged, is nothing left."""
    before = rows(), links()
    obj = vif("direct")
    unplug(obj)
    assert (rows(), links()) == before
    plug(obj)
    once = rows(), links()
    assert once != before
    plug(obj)
    assert (rows(), links()) == once
    for _ in range(3):
        unplug(obj)
        assert (rows(), links()) == before
    plug(obj)
    assert (rows(), links()) == once


@on_host
def test_unplug_with_another_hosts_address() -> None:
    """The PCI address of an unplug is not believed: another port that has that VF keeps it."""
    plug(vif("direct", OTHER, 2))
    alone = rows(), links()
    # Never plugged here: what the destination hears when its plug has failed.
    unplug(vif("direct", ONE, 2))
    assert (rows(), links()) == alone
    plug(vif("direct", ONE, 1))
    unplug(vif("direct", ONE, 2))
    assert (rows(), links()) == alone
    assert_in_switch("p0r2", OTHER)


@on_host
def test_a_vf_that_another_port_has() -> None:
    """A VF is one port's: another port is refused and told whose it is."""
    plug(vif("direct", OTHER, 1))
    alone = rows(), links()
    with pytest.raises(PlugException, match=f"in use by port {OTHER}"):
        plug(vif("direct", ONE, 1))
    assert (rows(), links()) == alone


@on_host
def test_unplug_without_the_vf() -> None:
    """Where the VF and its representor are gone, unplug takes away what is left and is content."""
    before = rows()
    obj = vif("direct")
    plug(obj)
    Links().delete("p0v1")
    Links().delete("p0r1")
    unplug(obj)
    assert rows() == before
    assert names.tap(ONE) not in links()


@on_host
def test_no_such_vf() -> None:
    """A VF that this host does not have is an error that names it."""
    with pytest.raises(PlugException, match=r"0000:04:0c\.3.*there is no such PCI device"):
        plug(vif("direct", vf=99))


@on_host
def test_two_vfs() -> None:
    """A VIF whose offload is for another VF than its own is refused: either may be another's."""
    obj = vif("direct")
    for holder in (obj.port_profile, obj.port_profile.datapath_offload):
        holder.representor_address = str(nic.vf_address(0, 2))
    with pytest.raises(PlugException, match=r"is for VF 0000:04:00\.1, its offload for VF"):
        plug(obj)
    assert rows()[0] == set()


@on_host
def test_without_an_offload() -> None:
    """A VIFHostDevice says its VF itself: it needs neither an offload nor a port profile."""
    common = {
        "id": ONE,
        "address": MAC,
        "plugin": "agilio_ovs",
        "network": Network(id=NETWORK, bridge=BRIDGE, mtu=MTU),
        "dev_type": "ethernet",
        "dev_address": str(nic.vf_address(0, 1)),
    }
    silent = osv.VIFPortProfileOpenVSwitch(interface_id=ONE)
    for obj in (osv.VIFHostDevice(**common), osv.VIFHostDevice(**common, port_profile=silent)):
        plug(obj)
        assert_in_switch("p0r1")
        unplug(obj)
        assert rows()[0] == set()


@on_host
def test_a_switch_that_is_stopped() -> None:
    """Without ovs-vswitchd plug fails by the deadline, leaves nothing, and unplug succeeds."""
    plugged = vif("direct", OTHER, 2)
    plug(plugged)
    before = links()
    stop("ovs-vswitchd")
    with pytest.raises(PlugException, match="ovs-vswitchd"):
        plug(vif("direct"))
    assert rows()[0] == {"p0r2"}
    assert links() == before
    unplug(plugged)
    assert rows()[0] == set()


@on_host
def test_a_database_that_is_stopped() -> None:
    """Without ovsdb-server plug and unplug are errors with the hint; unplug can be done later."""
    before = rows(), links()
    plugged = vif("direct", OTHER, 2)
    plug(plugged)
    stop("ovsdb-server")
    hint = re.escape("is ovsdb-server running? see: ovs-vsctl show")
    with pytest.raises(PlugException, match=hint):
        plug(vif("direct"))
    with pytest.raises(UnplugException, match=hint):
        unplug(plugged)
    host_switch().start_database()
    unplug(plugged)
    assert (rows(), links()) == before


def stop(daemon: str) -> None:
    """Kill one of the switch's daemons, and wait until it is gone."""
    pid = int((OPENVSWITCH / f"{daemon}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    status = Path(f"/proc/{pid}/status")
    while status.exists() and "(zombie)" not in status.read_text():
        pass


@on_host
def test_a_broken_configuration() -> None:
    """A bad path or address is an error of the plug that names the option, not of the start."""
    for option, words in (
        ({"state_path": "/proc/nowhere"}, r"journal.*state_path in \[os_vif_agilio_ovs\]"),
        ({"ovsdb_connection": "nonsense"}, "nonsense"),
        ({"ovsdb_connection": "unix:/nowhere"}, "/nowhere.*is ovsdb-server running"),
    ):
        configure(**option)
        os_vif.initialize(reset=True)
        with pytest.raises(PlugException, match=words):
            plug(vif("direct"))
    configure(forwarder_database="")
    os_vif.initialize(reset=True)
    with pytest.raises(PlugException, match=r"no forwarder .*forwarder_database and forwarder_net"):
        plug(forwarder_vif())
    assert rows()[0] == set()


@on_host
def test_a_service_that_is_not_root() -> None:
    """Without any capability of its own a service plugs and unplugs a forwarder's port."""
    from oslo_privsep import capabilities as own

    forwarder = start_forwarder()
    before = rows(), links()
    own.drop_all_caps_except([], [], [])
    with pytest.raises(Failed, match="not permitted"):
        Links().set_mtu("p0v1", MTU)
    with pytest.raises(Failed, match="not permitted"):
        Links(FORWARDER_NETNS).get("lo")
    obj = forwarder_vif()
    for _ in range(2):
        plug(obj)
        assert "p0v1" not in links()
        assert "p0v1" in {port.name for port in forwarder.ports() if port.failure is None}
    # What a QEMU that was killed leaves in a directory that is not the service's.
    left = Path(obj.path)
    left.touch()
    SOCKETS.chmod(0o555)
    for _ in range(2):
        unplug(obj)
        assert forwarder.ports() == ()
        assert (rows(), links()) == before
        assert left.exists()


@on_host
def test_a_namespace_that_is_not_there() -> None:
    """It is not made, and the error names the option; nothing is left of the plug."""
    FORWARDER.mkdir()
    forwarder_switch(1).start_database()
    before = rows(), links()
    with pytest.raises(PlugException, match=r"no network namespace .forwarder.*forwarder_netns"):
        plug(forwarder_vif())
    assert (rows(), links()) == before
    assert HostContext(load()).journal.ports() == ()
    assert not Path("/run/netns", FORWARDER_NETNS).exists()


@on_host
def test_a_daemon_that_does_not_start() -> None:
    """Where the helper cannot be started, plug says so, names the option, and leaves nothing."""
    for helper in ("/nowhere/privsep-helper", "/bin/false"):
        cfg.CONF.set_override("helper_command", helper, group=section())
        with pytest.raises(PlugException, match=r"helper_command in \[smartvif_privileged\]"):
            plug(vif("normal", vf=None, ovs_create_tap=True))
        assert rows()[0] == set()


def section() -> str:
    from smartvif.openstack import privileged

    return privileged.SECTION


def test_the_pages_outcomes_are_tested() -> None:
    """Each outcome on the page is one of the tests here."""
    table = DOC.read_text().split("## Outcomes on Open vSwitch\n")[1].split("\n## ")[0]
    named = re.findall(r"\| `(test_\w+)` \|$", table, re.MULTILINE)
    assert len(named) > 10
    assert set(named) <= globals().keys()
