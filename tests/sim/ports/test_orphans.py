"""Unplugging without the journal: what is the port's goes, and nothing of anybody else's."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import unittest
from pathlib import Path
from unittest import mock

import pytest

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.control import names
from smartvif.control.bind_ovs import HostSwitch, bind
from smartvif.demo.demo import host_state
from smartvif.drivers.drivers import Drivers, SwitchDriver
from smartvif.drivers.forwarder.ovs_dpdk import OvsDpdkEngine
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.host import sriov
from smartvif.host.representors import Representors
from smartvif.model.errors import Failed
from smartvif.model.port import Network, Port, VnicType
from smartvif.model.vif import Machine
from smartvif.plug.executor import plug, unplug
from smartvif.plug.journal import Journal
from smartvif.plug.plans.inputs import devices
from smartvif.sim.host import BRIDGE, SOCKETS, STATE, host_vrouter
from smartvif.sim.nic import nic
from smartvif.sim.testing import on_simulated_host
from smartvif.switches.build_vif import build_vif
from smartvif.switches.prepare import prepare_port

ONE = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
OTHER = "1e9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
# Their first letters are those of ONE, and so are the names of their devices.
NAMESAKES = ("0d9a1b2c-3e4f-4000-8000-000000000000", "0d9a1b2c-3e4f-4000-8000-000000000001")
MACHINE = Machine(uuid="5f1b6a3e-0000-4000-8000-000000000001", name="vm")
KINDS = (VnicType.NORMAL, VnicType.DIRECT, VnicType.VIRTIO_FORWARDER)
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x2, 0x1000


def _plug(kind: VnicType, port: str, vf: int, host: HostContext, *, hybrid: bool = False) -> None:
    asked = Port(
        id=port,
        mac=f"52:54:00:00:00:{vf:02x}",
        network=Network(id="net", bridge=BRIDGE, mtu=1400),
        vnic_type=kind,
        vf=None if kind is VnicType.NORMAL else nic.vf_address(0, vf),
    )
    switch = HostSwitch(datapath_type="netdev", vhost_user_dir=str(SOCKETS), hybrid=hybrid)
    vif = build_vif(asked, bind(asked, switch))
    found = None
    if asked.vf is not None:
        found = devices(sriov.vf(asked.vf), Representors(), with_uplink=True)
    planned = prepare_port(vif, MACHINE, found, switch_simulated=False)
    plug(planned, host.journal, host.drivers)


def _host() -> HostContext:
    return HostContext(settings.load())


def _only_ovs() -> dict[str, SwitchDriver]:
    return {"ovs": _host().drivers.switch("ovs")}


def _lost() -> Journal:
    """A journal that knows nothing."""
    return Journal(STATE.with_name("other"))


def _there(host: HostContext) -> set[str]:
    """The names of all that is there, and each guest's socket.

    Nobody knows any more how the links of a swept port were; so here they are no more than names.
    """
    found = {trace for trace in host_state(host) if not trace.startswith("journal")}
    return {" ".join(trace.split()[: 3 if ": link " in trace else None]) for trace in found}


def _warnings(port: str, drivers: Drivers) -> list[str]:
    """Unplug a port that the journal does not know; what was warned of."""
    with unittest.TestCase().assertLogs("smartvif", "WARNING") as said:
        unplug(port, _lost(), drivers)
    return [record.getMessage() for record in said.records]


@on_simulated_host(guests=1)
def test_only_the_ports_own_is_taken_away() -> None:
    """For every mode: the port leaves nothing, and another of each mode has all that it had."""
    host = _host()
    before = _there(host)
    for number, kind in enumerate(KINDS):
        _plug(kind, f"{number}{OTHER[1:]}", number, host)
    others = _there(host)
    for kind in KINDS:
        _plug(kind, ONE, 7, host)
        assert len(_there(host)) > len(others)
        for _ in range(3):
            unplug(ONE, _lost(), host.drivers)
            assert _there(host) == others, kind
        unplug(ONE, host.journal, host.drivers)
    for number in range(len(KINDS)):
        unplug(f"{number}{OTHER[1:]}", _lost(), host.drivers)
    assert _there(host) == before


@on_simulated_host(guests=1)
def test_namesakes_keep_what_is_their_own() -> None:
    """A relay and a port whose names are those of our port but whose owner is not stay."""
    host = _host()
    _plug(VnicType.VIRTIO_FORWARDER, NAMESAKES[0], 1, host)
    _plug(VnicType.NORMAL, NAMESAKES[1], 2, host)
    before = host_state(host)
    assert {f"forwarder: port fwd-{ONE[:11]}", "forwarder: port p0v1"} < before
    (warning,) = _warnings(ONE, host.drivers)
    assert warning.startswith(names.tap(ONE))
    assert host_state(host) == before


@on_simulated_host()
def test_ports_of_others() -> None:
    """A port that is nobody's, or speaks of ours without our mark, or is another owner's, stays."""
    links = Links()
    drivers = Drivers(links=links, switches=_only_ovs())
    marks = {
        "a0": [],
        "b0": [f"external_ids:iface-id={ONE}"],
        "c0": [f"external_ids:smartvif-owner={OTHER}"],
        "d0": [f"external_ids:owner={ONE}"],
        names.tap(ONE): [f"external_ids:iface-id={ONE}"],
    }
    for number, (name, ids) in enumerate(marks.items()):
        links.add_veth(name, f"peer{number}")
        setting = ["--", "set", "interface", name, *ids] if ids else []
        subprocess.run(["ovs-vsctl", "add-port", BRIDGE, name, *setting], check=True)
    before = drivers.need(OpenVSwitch).ports()
    (warning,) = _warnings(ONE, drivers)
    assert (
        warning
        == f"{names.tap(ONE)} has the name of port {ONE}, and may have another owner: not removed"
    )
    assert drivers.need(OpenVSwitch).ports() == before
    assert links.get(names.tap(ONE)) is not None


@on_simulated_host()
def test_a_tap_that_may_be_anothers() -> None:
    """A tap that a guest has open, or that nothing shows to be ours, is left, with a warning."""
    host = _host()
    tap = names.tap(ONE)
    drivers = Drivers(links=host.drivers.links, switches=_only_ovs())
    _plug(VnicType.NORMAL, ONE, 0, host)
    with open("/dev/net/tun", "r+b", buffering=0) as guest:
        wanted = struct.pack("16sH22x", tap.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(guest, _TUNSETIFF, wanted)
        assert len(_warnings(ONE, drivers)) == 1
        assert drivers.need(OpenVSwitch).port(tap) is None
    assert drivers.links.get(tap) is not None
    # Idle now, but its port in the switch is gone, and with it the proof.
    assert len(_warnings(ONE, drivers)) == 1
    assert drivers.links.get(tap) is not None
    # Not as we make it: it is nobody's, where ours are root's; or it is no tap.
    for kind in (["tuntap", "add", tap, "mode", "tap"], ["link", "add", tap, "type", "bridge"]):
        drivers.links.delete(tap)
        subprocess.run(["ip", *kind], check=True)
        drivers.need(OpenVSwitch).add_port(OvsPortSpec(bridge=BRIDGE, name=tap, owner=ONE))
        assert len(_warnings(ONE, drivers)) == 1
        assert drivers.need(OpenVSwitch).port(tap) is None
        assert drivers.links.get(tap) is not None


@on_simulated_host()
def test_a_hybrid_bridge_is_left() -> None:
    """The port goes; the Linux bridge and the veth, which others make by these names, are named."""
    host = _host()
    drivers = Drivers(links=host.drivers.links, switches=_only_ovs())
    _plug(VnicType.NORMAL, ONE, 0, host, hybrid=True)
    warnings = _warnings(ONE, drivers)
    assert [warning.split()[0] for warning in warnings] == ["qbr" + ONE[:11], "qvo" + ONE[:11]]
    assert {port.name for port in drivers.need(OpenVSwitch).ports()} == {BRIDGE}


@on_simulated_host()
def test_a_port_that_never_was_costs_one_question() -> None:
    """Open vSwitch is asked once, and changes nothing."""
    drivers = Drivers(links=Links(), switches=_only_ovs())
    with mock.patch.object(Ovsdb, "transact", autospec=True, side_effect=Ovsdb.transact) as asked:
        unplug(ONE, _lost(), drivers)
    ((ops,),) = ([call.args[1]] for call in asked.call_args_list)
    assert [op["op"] for op in ops] == ["select"]


@on_simulated_host()
def test_switches_that_do_not_answer() -> None:
    """Where nobody knows the port and nobody answers, that is a warning and no error."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        agent = VRouterAgent(
            f"http://127.0.0.1:{silent.getsockname()[1]}", PortFiles(Path("/run/p")), timeout=0.1
        )
        nowhere = OpenVSwitch(Ovsdb("unix:/nowhere"))
        drivers = Drivers(
            links=Links(),
            switches={"ovs": nowhere, "vrouter": agent},
            forwarder=OvsDpdkEngine(nowhere, netns="nowhere"),
        )
        said = _warnings(ONE, drivers)
    assert len(said) == 3
    assert sum("/nowhere" in line for line in said) == 2
    assert all(ONE in line for line in said)


@on_simulated_host()
def test_what_is_there_and_cannot_be_removed_is_an_error() -> None:
    """A port of ours that the switch keeps is no warning: the next unplug has to try again."""
    host = _host()
    _plug(VnicType.NORMAL, ONE, 0, host)
    drivers = Drivers(links=host.drivers.links, switches=_only_ovs())
    failing = mock.patch.object(OpenVSwitch, "commit_removal", side_effect=Failed("it says no"))
    with failing, pytest.raises(Failed, match="it says no"):
        unplug(ONE, _lost(), drivers)


@on_simulated_host()
def test_a_port_of_the_vrouter() -> None:
    """The agent forgets the port and its file is gone; another port is still there."""
    daemon = host_vrouter()
    agent = VRouterAgent("http://127.0.0.1:9091", PortFiles(daemon.ports))
    for port in (ONE, OTHER):
        agent.add(
            VRouterPort(
                id=port,
                machine=MACHINE.uuid,
                network=MACHINE.uuid,
                name="vm",
                mac="52:54:00:00:00:01",
                netdev=f"tap{port[:11]}",
            )
        )
    unplug(ONE, _lost(), Drivers(links=Links(), switches={"vrouter": agent}))
    assert agent.port(ONE) is None
    assert agent.port(OTHER) is not None
    assert os.listdir(daemon.ports) == [OTHER]
    assert json.loads((daemon.ports / OTHER).read_text())["id"] == OTHER
