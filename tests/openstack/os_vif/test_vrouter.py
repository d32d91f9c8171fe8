"""The plugins vrouter and contrail_vrouter under os_vif, with VIFs by Nova's own converter."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import os_vif
import pytest
from os_vif.exception import PlugException, UnplugException
from os_vif.objects import vif as osv
from os_vif.objects.instance_info import InstanceInfo

from smartvif.context.host import HostContext
from smartvif.context.settings import load
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.model.errors import Invalid
from smartvif.sim.host import FORWARDER_NETNS, forwarder_switch, host_vrouter
from smartvif.sim.vrouter import introspect
from tests.support.checkout import CHECKOUT
from tests.support.vrouter_plugin import (
    MAC,
    NETWORK,
    ONE,
    OTHER,
    PROJECT,
    TAP,
    VM,
    assert_active,
    assert_healthy,
    assert_up,
    configure,
    dpdk,
    files,
    forwarder,
    interfaces,
    links,
    normal,
    on_host,
    plug,
    state,
    told,
    unplug,
    vif,
)

DOC = CHECKOUT / "docs" / "reference" / "os-vif.md"


@on_host
def test_direct() -> None:
    """A direct VIF gives the vRouter the representor of its VF, and unplug puts all back."""
    before = state()
    obj = vif("direct")
    assert type(obj) is osv.VIFHostDevice
    assert obj.plugin == "vrouter"
    assert "vif_name" not in obj
    plug(obj)
    assert_up("p0r1")
    assert_active("p0r1")
    document = told()
    assert document is not None
    wanted = {
        "id": ONE,
        "instance-id": VM,
        "vn-id": NETWORK,
        "vm-project-id": str(uuid.UUID(PROJECT)),
        "mac-address": MAC,
        "system-name": "p0r1",
    }
    assert wanted.items() <= document.items()
    assert_healthy()
    unplug(obj)
    assert told() is None
    assert state() == before


@on_host
def test_virtio_forwarder() -> None:
    """A forwarder's VIF has a relay too; plugged twice it is one, and unplug takes it away."""
    subprocess.run(["ip", "netns", "add", FORWARDER_NETNS], check=True)
    forwarder_switch(1).start()
    relays = OpenVSwitch(Ovsdb(forwarder_switch(1).address))
    before = state()
    obj = forwarder()
    assert type(obj) is osv.VIFVHostUser
    for _ in range(2):
        plug(obj)
        assert_up("p0r1")
        assert_active("p0r1")
        assert "p0v1" not in links()
        relay = {port.name for port in relays.ports() if port.bridge == f"fwd-{ONE[:11]}"}
        assert relay == {f"fwd-{ONE[:11]}", f"vhu-{ONE[:11]}", "p0v1"}
    assert_healthy()
    for _ in range(3):
        unplug(obj)
        assert relays.ports() == ()
        assert state() == before


@on_host
def test_normal() -> None:
    """A VIF without a VF is told to the agent by the name of the tap that libvirt will make."""
    before = state()
    obj = normal()
    assert type(obj) is osv.VIFGeneric
    plug(obj)
    document = told()
    assert document is not None
    assert document["system-name"] == TAP
    assert document["ip-address"] == "10.0.0.5"
    assert not interfaces()[TAP]["active"]
    assert_healthy()
    tap = Links()
    tap.add_tap(TAP)
    tap.set_up(TAP)
    assert_active(TAP)
    tap.delete(TAP)
    unplug(obj)
    assert state() == before


@on_host
def test_dpdk() -> None:
    """A VIF of the DPDK vRouter goes to the plugin's other name, with QEMU's role told."""
    before = state()
    for mode, number in (("server", 1), ("client", 0)):
        path = f"/run/vrouter/uvh_vif_{TAP}"
        obj = dpdk(path, mode)
        assert type(obj) is osv.VIFVHostUser
        assert obj.plugin == "contrail_vrouter"
        with socket.socket(socket.AF_UNIX) as served:
            if mode == "client":  # then it is the vRouter that makes the socket
                Path(path).parent.mkdir()
                served.bind(path)
            plug(obj)
        document = told()
        assert document is not None
        assert document["vhostuser-mode"] == number
        assert document["system-name"] == TAP
        unplug(obj)
        assert state() == before


@on_host
def test_again_and_again() -> None:
    """Plugged twice is once; unplugged three times, and before it was plugged, is nothing left."""
    before = state()
    for obj in (vif("direct"), normal()):
        unplug(obj)
        assert state() == before
        plug(obj)
        once = state()
        assert once != before
        plug(obj)
        assert state() == once
        for _ in range(3):
            unplug(obj)
            assert state() == before


@on_host
def test_a_changed_port() -> None:
    """What is plugged again with another VF is with the agent by its new representor only."""
    plug(vif("direct", vf=1))
    plug(vif("direct", vf=2))
    document = told()
    assert document is not None
    assert document["system-name"] == "p0r2"
    assert_active("p0r2")
    assert "p0r1" not in interfaces()
    link = Links().get("p0r1")
    assert link is not None
    assert not link.up


@on_host
def test_unplug_with_another_hosts_address() -> None:
    """The PCI address of an unplug is not believed: another port that has that VF keeps it."""
    plug(vif("direct", OTHER, 2))
    alone = state()
    # Never plugged here: what the destination hears when its plug has failed.
    unplug(vif("direct", ONE, 2))
    assert state() == alone
    plug(vif("direct", ONE, 1))
    unplug(vif("direct", ONE, 2))
    assert state() == alone
    assert_active("p0r2")


@on_host
def test_a_vf_that_another_port_has() -> None:
    """A VF is one port's: another port is refused and told whose it is."""
    plug(vif("direct", OTHER, 1))
    alone = state()
    with pytest.raises(PlugException, match=f"in use by port {OTHER}"):
        plug(vif("direct", ONE, 1))
    assert state() == alone


@on_host
def test_unplug_without_the_vf() -> None:
    """Where the VF and its representor are gone, unplug takes away what is left and is content."""
    obj = vif("direct")
    plug(obj)
    Links().delete("p0r1")
    unplug(obj)
    assert files() == set()
    assert told() is None
    assert TAP not in links()


@on_host
def test_no_such_vf() -> None:
    """A VF that this host does not have is an error that names it."""
    with pytest.raises(PlugException, match=r"0000:04:0c\.3.*there is no such PCI device"):
        plug(vif("direct", vf=99))
    assert files() == set()


@on_host
def test_an_agent_that_is_down() -> None:
    """A normal port waits in its file for the agent; one with a VF is refused; unplug is done."""
    host_vrouter().kill()
    before = links(), files()
    for obj in (vif("direct"), dpdk("/run/s")):
        with pytest.raises(PlugException, match=r"no vRouter agent runs: .*contrail-status"):
            plug(obj)
        assert (links(), files()) == before
    plug(normal())
    assert files() == {ONE}
    host_vrouter().start()
    document = told()
    assert document is not None
    assert document["system-name"] == TAP
    assert_healthy()
    host_vrouter().kill()
    unplug(normal())
    assert files() == set()
    host_vrouter().start()
    assert told() is None


@on_host
def test_an_agent_that_is_slow() -> None:
    """An agent that does not answer is an error by the deadline; what is left is taken up later."""
    plugged = vif("direct", OTHER, 2)
    plug(plugged)
    alone = state()
    configure(agent_timeout="2")
    os_vif.initialize(reset=True)
    fault(drop=True)
    for obj in (vif("direct"), normal()):
        with pytest.raises(PlugException, match=r"did not answer .* within 2 s"):
            plug(obj)
    with pytest.raises(UnplugException, match="did not answer DELETE"):
        unplug(plugged)
    fault(drop=False)
    configure()
    os_vif.initialize(reset=True)
    for obj in (vif("direct"), normal()):
        unplug(obj)
    plug(plugged)
    assert state() == alone
    unplug(plugged)
    assert files() == set()


@on_host
def test_an_agent_that_lies() -> None:
    """A refusal with status 200 is a refusal; nothing is left of the port."""
    before = links(), files()
    fault(answer=[200, '{"error": "{ Invalid VN uuid }"}'])
    for obj in (vif("direct"), normal()):
        with pytest.raises(PlugException, match=r"refused the port: 200 .*Invalid VN uuid"):
            plug(obj)
        assert (links(), files()) == before


@on_host
def test_an_agent_that_is_restarted() -> None:
    """The ports are there again after the agent was killed, and plug finds nothing to do."""
    obj = vif("direct")
    plug(obj)
    once = state()
    host_vrouter().kill()
    host_vrouter().start()
    assert_active("p0r1")
    assert state() == once
    plug(obj)
    assert state() == once
    unplug(obj)
    assert files() == set()


@on_host
def test_an_agent_that_forgot() -> None:
    """Plugged again, as when nova-compute starts, a port that the agent lost is told anew."""
    obj = vif("direct")
    plug(obj)
    HostContext(load()).drivers.need(VRouterAgent).remove(ONE)
    assert told() is None
    plug(obj)
    assert_active("p0r1")


@on_host
def test_a_full_disk() -> None:
    """Without room for its file a port is refused: it would be lost when the agent restarts."""
    directory = host_vrouter().ports
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", directory], check=True)
    (directory / "filler").write_bytes(bytes(4096))
    before = state()
    for obj in (vif("direct"), normal()):
        with pytest.raises(PlugException, match="No space left on device"):
            plug(obj)
        assert state() == before
    (directory / "filler").unlink()
    plug(vif("direct"))
    (directory / "filler").touch()
    unplug(vif("direct"))
    assert files() == {"filler"}


@on_host
def test_no_addresses() -> None:
    """A port without addresses, as of a network without subnets, is plugged like any other."""
    obj = vif("normal", vf=None, ips=())
    plug(obj)
    document = json.loads((host_vrouter().ports / ONE).read_text())
    assert (document["ip-address"], document["ip6-address"]) == ("0.0.0.0", "::")  # noqa: S104
    unplug(obj)


@on_host
def test_identifiers_that_are_none() -> None:
    """What the agent would take for the nil UUID is refused before anything is done."""
    obj = normal()
    obj.network.id = str(uuid.UUID(int=5))
    plug(obj)
    unplug(obj)
    bad = InstanceInfo(uuid=VM, name="x", project_id="not a UUID")
    os_vif.plug(normal(), bad)
    document = told()
    assert document is not None
    assert document["vm-project-id"] == str(uuid.UUID(int=0))


@on_host
def test_a_broken_configuration() -> None:
    """A bad path or address is an error of the plug that names the option, not of the start."""
    for option, words in (
        ({"state_path": "/proc/nowhere"}, r"journal.*state_path in \[os_vif_vrouter\]"),
        ({"agent": "nonsense"}, "'nonsense' is not an address"),
        ({"ports_directory": "/proc/nowhere"}, "cannot write the port's file"),
    ):
        configure(**option)
        os_vif.initialize(reset=True)
        with pytest.raises(PlugException, match=words):
            plug(vif("direct"))
    configure(forwarder_database="")
    os_vif.initialize(reset=True)
    with pytest.raises(PlugException, match=r"no forwarder .*forwarder_database and forwarder_net"):
        plug(forwarder())
    assert files() == set()


@on_host
def test_the_directory_is_not_the_services_to_choose() -> None:
    """The privileged helper writes ports' files into the configured directory and nowhere else."""
    from smartvif.openstack import privileged

    plug(normal())
    elsewhere = privileged.PrivilegedPortFiles(Path("/run/elsewhere"))
    elsewhere.write_text(OTHER, "{}")
    assert files() == {ONE, OTHER}
    assert not Path("/run/elsewhere").exists()
    for name in ("../evil", "filler", ""):
        with pytest.raises(Invalid):
            elsewhere.remove(name)
    with pytest.raises(Invalid, match="characters"):
        elsewhere.write_text(OTHER, "x" * (1 << 17))


def fault(**faults: Any) -> None:
    """Put a fault into the agent, or take one out."""
    connection = http.client.HTTPConnection("127.0.0.1", introspect.PORT)
    connection.request("PUT", "/faults", json.dumps(faults))
    assert connection.getresponse().status == 200
    connection.close()


def test_the_pages_outcomes_are_tested() -> None:
    """Each outcome on the page is one of the tests here."""
    table = DOC.read_text().split("## Outcomes on the vRouter\n")[1].split("\n## ")[0]
    named = re.findall(r"`(test_\w+)`", table)
    assert len(named) > 15
    assert all(name in globals() for name in named)
