"""The Open vSwitch driver against a real ovsdb-server and ovs-vswitchd."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell, Failed, NotFound, Refused, TimedOut
from smartvif.sim.host import BRIDGE, OPENVSWITCH, host_switch
from smartvif.sim.testing import on_simulated_host


def _switch(timeout: float = 10.0) -> OpenVSwitch:
    return OpenVSwitch(Ovsdb(host_switch().address), timeout=timeout)


def _spec(name: str = "p0r0", owner: str = "vif-1", bridge: str = BRIDGE) -> OvsPortSpec:
    return OvsPortSpec(bridge=bridge, name=name, owner=owner, external_ids={"iface-id": owner})


def _vsctl(*words: str) -> str:
    return subprocess.run(
        ["ovs-vsctl", *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def _vswitchd() -> int:
    return int((OPENVSWITCH / "ovs-vswitchd.pid").read_text())


@on_simulated_host()
def test_a_port_is_there_when_the_call_returns() -> None:
    """add_port returns after ovs-vswitchd has given the port a number, with ids, tag and QoS."""
    spec = OvsPortSpec(
        bridge=BRIDGE, name="p0r0", owner="vif-1", tag=42, external_ids={"iface-id": "port-1"}
    )
    _switch().add_port(spec)
    port = _switch().port("p0r0")
    assert port is not None
    assert port.failure is None
    assert (port.bridge, port.vlan.tag, port.owner) == (BRIDGE, 42, "vif-1")
    assert port.external_ids["iface-id"] == "port-1"
    assert _vsctl("--bare", "--columns=type", "list", "qos") == "linux-noop"


@on_simulated_host()
def test_adding_twice_is_adding_once() -> None:
    """A second add_port by the same owner changes the port in place; its number stays."""
    switch = _switch()
    switch.add_port(_spec())
    first = switch.port("p0r0")
    switch.add_port(OvsPortSpec(bridge=BRIDGE, name="p0r0", owner="vif-1", tag=7))
    second = switch.port("p0r0")
    assert first is not None
    assert second is not None
    assert (first.ofport, second.vlan.tag) == (second.ofport, 7)
    assert len(_vsctl("--bare", "--columns=_uuid", "list", "qos").split()) == 1


@on_simulated_host()
def test_a_missing_netdev_is_an_error_in_the_switchs_words() -> None:
    """A port that ovs-vswitchd cannot open fails with the reason that it gives."""
    with pytest.raises(Failed, match="No such device"):
        _switch().add_port(_spec("absent"))


@on_simulated_host()
def test_a_missing_bridge_names_those_there_are() -> None:
    """A bridge that is not there is NotFound, with the bridges as the hint; nothing is written."""
    with pytest.raises(NotFound) as caught:
        _switch().add_port(_spec(bridge="br-none"))
    assert BRIDGE in caught.value.hint
    assert _switch().port("p0r0") is None


@on_simulated_host()
def test_a_stopped_vswitchd_is_an_error_at_the_deadline() -> None:
    """A plug waits for ovs-vswitchd no longer than its one deadline, and says who did not act."""
    os.kill(_vswitchd(), signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(TimedOut, match="ovs-vswitchd did not act"):
        _switch(timeout=1.0).add_port(_spec())
    assert 0.9 < time.monotonic() - began < 5.0
    os.kill(_vswitchd(), signal.SIGCONT)


@on_simulated_host()
def test_a_port_on_another_bridge_is_refused() -> None:
    """A netdev that is in another bridge stays there, and the error names that bridge."""
    _vsctl("add-br", "br-other", "--", "add-port", "br-other", "p0r0")
    with pytest.raises(Refused, match="already on bridge 'br-other'"):
        _switch().add_port(_spec())
    assert _vsctl("port-to-br", "p0r0") == "br-other"


@on_simulated_host()
def test_somebody_elses_port_is_refused_and_never_removed() -> None:
    """A port of another VIF is neither taken over nor taken away."""
    switch = _switch()
    switch.add_port(_spec(owner="vif-1"))
    with pytest.raises(Refused, match="belongs to vif-1"):
        switch.add_port(_spec(owner="vif-2"))
    switch.remove_port("p0r0", "vif-2")
    assert switch.port("p0r0") is not None
    switch.remove_port("p0r0", "vif-1")
    assert switch.port("p0r0") is None


@on_simulated_host()
def test_a_live_bridges_datapath_type_is_never_changed() -> None:
    """Plugging and unplugging leave the Bridge row as it was."""
    columns = ("--columns=name,datapath_type,other_config,fail_mode", "list", "bridge")
    before = _vsctl(*columns)
    switch = _switch()
    switch.add_port(_spec())
    assert _vsctl(*columns) == before
    switch.remove_port("p0r0", "vif-1")
    assert _vsctl(*columns) == before


@on_simulated_host()
def test_no_qos_row_is_orphaned() -> None:
    """QoS rows go with their port, also when the plug failed after the insert."""
    switch = _switch()
    with pytest.raises(Failed):
        switch.add_port(_spec("absent"))
    switch.remove_port("absent", "vif-1")
    switch.add_port(_spec())
    switch.remove_port("p0r0", "vif-1")
    assert _vsctl("list", "qos") == ""
    assert _vsctl("list", "interface", BRIDGE) != ""


@on_simulated_host()
def test_removing_while_vswitchd_is_down_leaves_nothing_when_it_is_back() -> None:
    """A removal does not need ovs-vswitchd: it finds the row gone when it comes back."""
    switch = _switch()
    switch.add_port(_spec())
    os.kill(_vswitchd(), signal.SIGKILL)
    switch.remove_port("p0r0", "vif-1")
    host_switch().start_vswitchd()
    assert "p0r0" not in _vsctl("list-ports", BRIDGE).split()


@on_simulated_host()
def test_a_dead_database_is_cannot_tell_and_a_new_one_is_found_again() -> None:
    """Without ovsdb-server nobody can tell; when it is back the same object works again."""
    switch = _switch(timeout=2.0)
    assert [bridge.name for bridge in switch.bridges()] == [BRIDGE]
    server = int((OPENVSWITCH / "ovsdb-server.pid").read_text())
    os.kill(server, signal.SIGKILL)
    _wait_until_dead(server)
    with pytest.raises(CannotTell):
        switch.bridges()
    host_switch().start_database()
    assert [bridge.name for bridge in switch.bridges()] == [BRIDGE]


@on_simulated_host()
def test_ports_survive_a_restart_of_open_vswitch() -> None:
    """The database persists: after a restart of both daemons the port is there and works."""
    switch = _switch()
    switch.add_port(_spec())
    for name in ("ovs-vswitchd", "ovsdb-server"):
        process = int((OPENVSWITCH / f"{name}.pid").read_text())
        os.kill(process, signal.SIGTERM)
        _wait_until_dead(process)
    host_switch().start_database()
    host_switch().start_vswitchd()
    port = _switch().port("p0r0")
    assert port is not None
    assert port.failure is None


@on_simulated_host("1x64")
def test_many_threads_share_one_connection() -> None:
    """64 threads plug at once over one connection, and every port works."""
    switch = _switch()
    failures: list[BaseException] = []

    def add(number: int) -> None:
        try:
            switch.add_port(_spec(f"p0r{number}", owner=f"vif-{number}"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ports = [port for port in switch.ports() if port.owner]
    assert len(ports) == 64
    assert all(port.failure is None for port in ports)


@on_simulated_host()
def test_two_clients_racing_for_one_netdev_do_not_both_win() -> None:
    """Of two that plug the same netdev at once, one is refused and overwrites nothing."""
    results: list[str] = []

    def add(owner: str, switch: OpenVSwitch, start: threading.Barrier) -> None:
        start.wait()
        try:
            switch.add_port(_spec(owner=owner))
            results.append("added")
        except Refused:
            results.append("refused")

    for _ in range(20):
        switches = [_switch(), _switch()]
        for switch in switches:
            switch.bridges()
        start = threading.Barrier(2)
        results.clear()
        threads = [
            threading.Thread(target=add, args=(f"vif-{number}", switch, start))
            for number, switch in enumerate(switches)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["added", "refused"]
        owner = switches[0].port("p0r0")
        assert owner is not None
        switches[0].remove_port("p0r0", owner.owner or "")


@on_simulated_host()
def test_transactions_say_what_the_server_refused() -> None:
    """An OVSDB error names the table and carries the server's words."""
    database = Ovsdb(host_switch().address)
    row = {"op": "insert", "table": "Bridge", "row": {"no_such_column": 1}}
    with pytest.raises(Failed, match="no_such_column") as caught:
        database.transact([row], Deadline(2.0))
    assert "Bridge" in caught.value.where


@on_simulated_host()
def test_links_left_alone() -> None:
    """A port's netdev is neither deleted nor changed by adding and removing the port."""
    links = Links()
    before = links.get("p0r0")
    switch = _switch()
    switch.add_port(_spec())
    switch.remove_port("p0r0", "vif-1")
    assert links.get("p0r0") == before


def _wait_until_dead(process: int) -> None:
    for _ in range(500):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {process} does not end")
