"""The plugin agilio_ovs under os_vif, with VIFs by Nova's own converter, on a simulated host."""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import os_vif
import pytest
from nova.network import model, os_vif_util
from os_vif.exception import PlugException, UnplugException
from os_vif.objects import vif as osv
from os_vif.objects.instance_info import InstanceInfo
from os_vif.objects.network import Network
from oslo_config import cfg

from smartvif.context.host import HostContext
from smartvif.context.settings import load
from smartvif.control import names
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.kernel.vfio import Vfio
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.host.vf_info import NO_MAC, VfAdmin
from smartvif.model.errors import CannotTell, Failed, Invalid, NotFound, Refused
from smartvif.openstack.options import AGILIO_OVS
from smartvif.openstack.os_vif.agilio_ovs import AgilioOvsPlugin
from smartvif.operations.reconcile import reconcile
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
from smartvif.sim.testing import on_simulated_host
from smartvif.status import ports

DOC = Path(__file__).parents[2] / "docs" / "reference" / "os-vif.md"
CONFIG = Path("/run/os-vif.conf")
VM = "9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01"
INSTANCE = InstanceInfo(uuid=VM, name="instance-00000001", project_id="tenant")
NETWORK = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"
ONE = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
OTHER = "1e9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
MAC = "fa:16:3e:12:34:56"
MTU = 1450
FILTERS = Path(__file__).parents[2] / "packaging" / "rootwrap.d"
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21  # include/uapi/linux/capability.h


@pytest.fixture(autouse=True, scope="module")
def initialized() -> None:
    """os-vif as nova-compute starts it."""
    os_vif.initialize()


def on_host(test: Callable[[], None]) -> Callable[[], None]:
    """Run the test on a simulated host whose nova.conf names its parts."""

    @functools.wraps(test)
    def configured() -> None:
        configure()
        test()

    return on_simulated_host()(configured)


def configure(**changes: str) -> None:
    """Write and read nova.conf; ``changes`` are options of the plugin."""
    options = {
        "ovsdb_connection": f"unix:{OPENVSWITCH}/db.sock",
        "ovs_timeout": "3",
        "state_path": str(STATE),
        "forwarder_database": f"unix:{FORWARDER}/db.sock",
        "forwarder_netns": FORWARDER_NETNS,
    } | changes
    lines = [f"{key} = {value}" for key, value in options.items()]
    helper = Path(sys.executable).parent / "privsep-helper"
    CONFIG.write_text(
        "\n".join(["[os_vif_agilio_ovs]", *lines])
        + f"\n[smartvif_privileged]\nhelper_command = {helper}\n"
        + f"[smartvif_privileged_netns]\nhelper_command = {helper} --config-file {CONFIG}\n"
    )
    cfg.CONF(["--config-file", str(CONFIG)])


def vif(vnic_type: str, port: str = ONE, vf: int | None = 1, **details: Any) -> Any:
    """The object that Nova's converter makes of a port bound as ``agilio_ovs``."""
    made = os_vif_util.nova_to_osvif_vif(
        model.VIF(
            id=port,
            address=MAC if port == ONE else "fa:16:3e:12:34:57",
            network=model.Network(id=NETWORK, bridge=BRIDGE, label="net", mtu=MTU),
            type=model.VIF_TYPE_AGILIO_OVS,
            vnic_type=vnic_type,
            details=details,
            profile={} if vf is None else {"pci_slot": str(nic.vf_address(0, vf))},
            delegate_create=True,
            devname=names.tap(port),
        )
    )
    # Nova gives ports without a VF to the plugin "ovs"; docs/reference/vif-table.md has why not.
    made.plugin = "agilio_ovs"
    return made


def forwarder_vif(port: str = ONE, vf: int = 1) -> Any:
    """A VIF behind the virtio forwarder."""
    socket = f"{SOCKETS}/{port}.sock"
    return vif("virtio-forwarder", port, vf, vhostuser_socket=socket, vhostuser_mode="server")


def plug(obj: Any) -> None:
    os_vif.plug(obj, INSTANCE)


def unplug(obj: Any) -> None:
    os_vif.unplug(obj, INSTANCE)


def start_forwarder() -> OpenVSwitch:
    """The forwarder, which a simulated host has with guests only."""
    subprocess.run(["ip", "netns", "add", FORWARDER_NETNS], check=True)
    forwarder_switch(1).start()
    return OpenVSwitch(Ovsdb(forwarder_switch(1).address))


def switch() -> OpenVSwitch:
    return OpenVSwitch(Ovsdb(host_switch().address))


def rows() -> Any:
    """The ports on the switch, without the bridge's own, and everything that speaks of QoS."""
    tables = [
        {"op": "select", "table": table, "where": [], "columns": ["_uuid"]}
        for table in ("QoS", "Bridge")
    ]
    counts = [len(result["rows"]) for result in switch().db.transact(tables, switch().deadline())]
    return {port.name for port in switch().ports()} - {BRIDGE}, counts


def links() -> dict[str, Any]:
    """Every link and its state. The bridge's own follows the MTU of its ports."""
    host = Links()
    return {name: host.get(name) for name in host.names() if name != BRIDGE}


def assert_in_switch(netdev: str, port: str = ONE) -> None:
    """The switch has the port, for that VIF, and the link is up with the network's MTU."""
    found, link = switch().port(netdev), Links().get(netdev)
    assert found is not None
    assert found.failure is None
    assert found.bridge == BRIDGE
    assert found.owner == port
    wanted = {"iface-id": port, "iface-status": "active", "vm-uuid": VM}
    assert wanted.items() <= found.external_ids.items()
    assert link is not None
    assert link.up
    assert link.mtu == MTU


def assert_healthy() -> None:
    """The command calls every port of the plugin healthy."""
    host = HostContext(load())
    views = ports.views(host.journal, host.drivers)
    assert [view.working for view in views] == [True], views
    assert views[0].facts["vm"] == INSTANCE.name


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
        assert reconcile(HostContext(load())) == {}
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
def test_capabilities_of_the_daemon() -> None:
    """Each daemon has the capabilities it needs and no other, and is not there before it is used.

    Only a port behind the forwarder needs the one that may enter namespaces.
    """
    from smartvif.openstack.privileged import PrivilegedPortFiles

    start_forwarder()
    assert daemons() == {}
    for directory in ("/run/nowhere", CONFIG):
        PrivilegedPortFiles(Path(directory)).remove(ONE)
    for obj in (vif("normal", vf=None, ovs_create_tap=True), forwarder_vif()):
        unplug(obj)
    assert daemons() == {}
    plug(vif("normal", OTHER, vf=None, ovs_create_tap=True))
    links_only = {"privileged": capabilities(CAP_NET_ADMIN)}
    assert daemons() == links_only
    plug(forwarder_vif())
    entering = capabilities(CAP_NET_ADMIN, CAP_SYS_ADMIN)
    assert daemons() == links_only | {"privileged_netns": entering}


def capabilities(*numbers: int) -> dict[str, int]:
    """A process with these in effect and none to hand on, as its status in /proc has it."""
    wanted = sum(1 << number for number in numbers)
    return {"CapEff": wanted, "CapPrm": wanted, "CapInh": 0, "CapAmb": 0}


def daemons() -> dict[str, dict[str, int]]:
    """The capabilities of our privileged daemons, by the module of each."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        command = (process / "cmdline").read_bytes().decode()
        if context := re.search(r"smartvif\.openstack\.(\w+)\.context", command):
            assert context[1] not in found
            status = dict(re.findall(r"(Cap\w+):\s+(\w+)", (process / "status").read_text()))
            kinds = ("CapEff", "CapPrm", "CapInh", "CapAmb")
            found[context[1]] = {kind: int(status[kind], 16) for kind in kinds}
    return found


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
def test_the_namespace_is_the_configurations() -> None:
    """The daemon enters the namespace that its own configuration names, whatever it is told."""
    from smartvif.openstack import privileged_netns

    group = "os_vif_agilio_ovs"
    for name in (FORWARDER_NETNS, "another"):
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "add", name, "type", "bridge"], check=True)
    inside = privileged_netns.PrivsepNamespaceLinks(group)
    cfg.CONF.set_override("forwarder_netns", "another", group=group)
    assert inside.get(FORWARDER_NETNS) is not None
    assert inside.get("another") is None
    with pytest.raises(NotFound, match="no such link"):
        inside.set_up("absent", mtu=MTU)
    with pytest.raises(NotFound, match="no such link"):
        inside.move("absent", None)
    refused: list[Callable[[], object]] = [
        lambda: inside.set_up(FORWARDER_NETNS, mtu=1 << 20),
        lambda: inside.set_up("a name that is too long", mtu=MTU),
        lambda: inside.get("../lo"),
        lambda: inside.move("a name that is too long", None),
        lambda: privileged_netns.PrivsepNamespaceLinks("DEFAULT").get("lo"),
    ]
    for act in refused:
        with pytest.raises(Invalid):
            act()
    with pytest.raises(Failed, match=r"knows no forwarder_netns in \[os_vif_vrouter\]"):
        privileged_netns.PrivsepNamespaceLinks("os_vif_vrouter").get("lo")
    channel = privileged_netns.context.channel
    for name in ("os.getpid", "smartvif.openstack.privileged._delete"):
        with pytest.raises(Exception, match="not exported"):
            channel.remote_call(name, ("lo",), {}, 5)


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


def test_rootwrap() -> None:
    """The packaged filters let root start the helper for each of our contexts, and nothing else."""
    from oslo_privsep.priv_context import PrivContext
    from oslo_rootwrap import wrapper

    import smartvif.openstack

    # The last one is rootwrap's own, of the versions that let every helper be started.
    filters = wrapper.load_filters([str(FILTERS)])[:2]
    modules = pkgutil.iter_modules(smartvif.openstack.__path__, "smartvif.openstack.")
    found = {
        f"{module.name}.{name}"
        for module in modules
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, PrivContext)
    }
    entries = re.findall("^[^#\\[\n]+", FILTERS.joinpath("smartvif.filters").read_text(), re.M)
    assert len(found) == len(filters) == len(entries)
    start = ["privsep-helper", "--config-file", "/etc/nova/nova.conf", "--privsep_context"]
    end = ["--privsep_sock_path", "/tmp/tmpabc/privsep.sock"]  # noqa: S108
    for context in found:
        assert [each.match([*start, context, *end]) for each in filters].count(True) == 1
    for other in ("os.path", "smartvif.openstack.privileged.context.x"):
        assert not any(each.match([*start, other, *end]) for each in filters)


@on_host
def test_errors_of_the_daemon() -> None:
    """What the kernel or a check says in the daemon comes out of it whole, as the same class."""
    from smartvif.openstack import privileged

    host = privileged.PrivilegedLinks()
    with pytest.raises(NotFound) as absent:
        host.set_up("absent")
    assert (absent.value.what, absent.value.where) == (
        "bringing link 'absent' up: there is no such link",
        "kernel",
    )
    with pytest.raises(Invalid) as refused:
        host.set_up("a name that is too long")
    assert refused.value.hint
    with pytest.raises(Invalid, match="not the name of a network namespace"):
        host.move("p0v1", "../../proc/1/ns/net")
    with pytest.raises(Exception, match="not exported"):
        privileged.context.channel.remote_call("os.getpid", (), {}, 5)


@on_host
def test_vfs_by_the_daemon() -> None:
    """The daemon takes VFs and sets them, checks what it is told, and its errors come out whole.

    The simulated card's files make no driver act: the first that is not there ends it.
    """
    from smartvif.openstack import privileged

    vfs, host = privileged.PrivilegedVfio(), privileged.PrivilegedLinks()
    with pytest.raises(Refused, match="it is a PF") as refused:
        vfs.bind(nic.pf_address(0))
    assert refused.value.hint
    address = nic.vf_address(0, 1)
    Path(f"/sys/bus/pci/devices/{address}/net/p0v1/flags").write_text("0x1002\n")
    with pytest.raises(Failed, match=f"taking VF {address} from smartvif_sim_vf: No such file"):
        vfs.bind(address)
    Path(f"/sys/bus/pci/devices/{address}/driver").unlink()
    with pytest.raises(Refused, match="nvme is not loaded"):
        vfs.restore(address, "nvme")
    for wanted in (
        VfAdmin(mac="01:00:00:00:00:01"),
        VfAdmin(mac=MAC, vlan=4095),
        VfAdmin(mac=MAC, qos=8),
    ):
        with pytest.raises(Invalid):
            host.set_vf_admin("lo", 0, wanted)
    for mac in (MAC, NO_MAC):
        with pytest.raises(NotFound, match="'lo' has no VF 0"):
            host.set_vf_admin("lo", 0, VfAdmin(mac=mac, vlan=5, qos=7, trusted=True))
    with pytest.raises(Invalid):
        host.set_vf_admin("../lo", 0, VfAdmin(mac=MAC))
    for entry in (privileged._take_vf, lambda vf: privileged._give_back_vf(vf, None)):
        with pytest.raises(Invalid, match="not a PCI address"), privileged._asked():
            entry(f"../{address}")


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


def test_every_change_is_the_daemons() -> None:
    """No call that changes a VF is left to the service itself; of links the type checker tells."""
    from smartvif.openstack.privileged import PrivilegedVfio

    public = {name for name in vars(Vfio) if not name.startswith("_")}
    assert public - vars(PrivilegedVfio).keys() == {"look"}


def test_description() -> None:
    """os-vif agrees on a version of every class and profile, in what it loaded by that name."""
    info = os_vif.host_info().get_plugin("agilio_ovs")
    assert {each.vif_object_name for each in info.vif_info} == {
        "VIFHostDevice",
        "VIFVHostUser",
        "VIFOpenVSwitch",
        "VIFBridge",
    }
    for each in info.vif_info:
        version = getattr(osv, each.vif_object_name).VERSION
        assert each.get_common_version() == each.max_version == version
        assert each.supported_port_profiles
        for profile in each.supported_port_profiles:
            version = getattr(osv, profile.profile_object_name).VERSION
            assert profile.get_common_version() == profile.max_version == version


FIELDS: dict[str, dict[str, Any]] = {
    "VIFHostDevice": {"dev_type": "ethernet", "dev_address": "0000:ff:00.1"},
    "VIFVHostUser": {"vif_name": "vhu0", "path": "/run/s", "mode": "server"},
    "VIFOpenVSwitch": {"vif_name": "tap0", "bridge_name": BRIDGE},
    "VIFBridge": {"vif_name": "tap0", "bridge_name": "qbr0"},
}


@pytest.mark.parametrize(
    ("kind", "profile", "offloaded"),
    [
        (str(kind), str(profile), offloaded)
        for kind, (_, profiles) in AgilioOvsPlugin.SUPPORTED.items()
        for profile in profiles
        for offloaded in (False, True)
        if not offloaded or kind in {"VIFHostDevice", "VIFVHostUser"}
    ],
)
def test_the_description_is_true(kind: str, profile: str, offloaded: bool) -> None:
    """Each class is taken with each profile described for it, up to where the host is needed."""
    made = getattr(osv, profile)()
    if kind == "VIFOpenVSwitch":
        made.create_tap = True
    if offloaded:
        address = "0000:ff:00.1"
        made.datapath_offload = osv.DatapathOffloadRepresentor(representor_address=address)
    obj = getattr(osv, kind)(
        id=ONE,
        address=MAC,
        plugin="agilio_ovs",
        network=Network(id=NETWORK, bridge=BRIDGE),
        port_profile=made,
        **FIELDS[kind],
    )
    wanted = "cannot use the journal"
    if kind == "VIFHostDevice":
        wanted = "no such PCI device"
    elif offloaded:
        wanted = "no forwarder is configured"
    with pytest.raises((NotFound, CannotTell), match=wanted):
        AgilioOvsPlugin(Nowhere()).plug(obj, INSTANCE)


class Nowhere:
    """A configuration under which nothing can be reached."""

    ovsdb_connection = "unix:/nowhere"
    ovs_timeout = 1.0
    state_path = "/proc/nowhere"
    forwarder_database = forwarder_netns = forwarder_daemon = ""


def test_the_constructor_looks_at_nothing() -> None:
    """No configuration keeps the plugin from being made, nor os-vif from describing it."""
    plugin = AgilioOvsPlugin(None)
    assert plugin.describe().plugin_name == "agilio_ovs"


def test_loading_is_cheap() -> None:
    """Loading the plugin opens no privsep and imports nothing that only a plug needs."""
    script = (
        "import sys, os_vif, smartvif.openstack.os_vif.plugin\n"
        "sys.exit('smartvif.openstack.privileged' in sys.modules or 'pyroute2' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False)
    assert run.returncode == 0


def test_the_pages_options_are_these() -> None:
    """The page lists each option with its default and its help, and no other."""
    section = DOC.read_text().split("### `[os_vif_agilio_ovs]`\n")[1].split("\n### ")[0]
    listed = re.findall(r"^\| `(\w+)` \| `([^`]*)` \| (.*) \|$", section, re.MULTILINE)
    options = [(opt.name, str(opt.default) or "''", opt.help) for opt in AGILIO_OVS]
    assert listed == options


def test_the_pages_outcomes_are_tested() -> None:
    """Each outcome on the page is one of the tests here."""
    table = DOC.read_text().split("## Outcomes on Open vSwitch\n")[1].split("\n## ")[0]
    named = re.findall(r"\| `(test_\w+)` \|$", table, re.MULTILINE)
    assert len(named) > 10
    assert set(named) <= globals().keys()
