"""The command line on ports of the vRouter: what it answers, what it refuses, what it mends."""

from __future__ import annotations

import re
from typing import Any

import pytest

from smartvif.demo.demo import NETWORK
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.sim.guest import image
from smartvif.sim.host import BRIDGE, CONFIG, host_vrouter
from smartvif.sim.testing import on_simulated_host
from smartvif.sim.vrouter import api
from tests.support.commands import MODES, document, guests, host, join, refused, smartvif
from tests.support.documents import (
    GUEST_KEYS,
    OVS_KEYS,
    PORT_KEYS,
    SHOW_KEYS,
    SIMULATED,
    STATE_KEYS,
    check_map,
    check_nic_list,
    check_ports,
    check_tables,
)
from tests.support.leftovers import everything
from tests.support.vrouter import request, set_faults


def ask(**changed: str | None) -> list[str]:
    """``attach`` with good values but for those given; None leaves one away."""
    asked = {"vm": "vm1", "mode": "normal", "switch": "vrouter", "network": NETWORK, **changed}
    options = [(f"--{name}", value) for name, value in asked.items() if value is not None]
    return ["attach", *(word for option in options for word in option)]


BAD_INPUT: list[tuple[list[str], int, str]] = [
    (ask(bridge=BRIDGE), 2, "it means nothing to vrouter"),
    (ask(bridge=BRIDGE, network=None), 2, "it is missing, and vrouter needs it"),
    (ask(network=None), 2, "it is missing, and vrouter needs it"),
    (ask(network=""), 2, "'' is not a UUID"),
    (ask(network="red"), 2, "'red' is not a UUID"),
    (ask(network=NETWORK[:-1]), 2, "is not a UUID"),
    (ask(vlan="7"), 2, "it means nothing to vrouter"),
    (ask(switch="ovs"), 2, "it is missing, and ovs needs it"),
    (ask(switch="ovs", bridge=BRIDGE), 2, "it means nothing to ovs"),
    (ask(switch=None, bridge=BRIDGE), 2, "it means nothing to ovs"),
    (ask(switch="contrail"), 2, "'contrail' is not one of"),
    (ask(vm="vm9"), 1, "no virtual machine is called 'vm9'"),
    (ask(vf="0000:04:00.1"), 2, "mode normal takes no VF"),
    (ask(mode="direct", vf="0000:04:00.0"), 4, "in use by port"),
    (ask(mode="direct", switch="ovs", network=None, bridge=BRIDGE, vf="0000:04:00.0"), 4, "in use"),
]
"""What is asked, the exit code, and what the error says. VF 0000:04:00.0 is a port's."""


@on_simulated_host(guests=1)
def test_bad_input_is_one_error_and_changes_nothing() -> None:
    """Every line of the table gives its one error and its exit code, and leaves all as it was."""
    join("vm1", "direct", NETWORK)
    before = everything(host())
    for words, code, what in BAD_INPUT:
        refused(smartvif(*words), code, re.escape(what))
        assert everything(host()) == before, words
    config = CONFIG.with_name("other.toml")
    config.write_text(CONFIG.read_text().replace("[vrouter]", "[vrouter]\nagent = 'agent'"))
    asked = smartvif(*ask(), env={"SMARTVIF_CONFIG": str(config)})
    refused(asked, 2, "'agent' is not an address")
    assert everything(host()) == before


@on_simulated_host(guests=1)
def test_every_command_on_a_running_and_on_a_stopped_machine() -> None:
    """Each mode: JSON has exactly the documented keys and the truth; tables show it too."""
    guests().define("vm2", image.ensure())
    before = everything(host())
    for vm, live in (("vm1", True), ("vm2", False)):
        for mode in MODES:
            # However it is written, it is one network.
            port = join(vm, mode, NETWORK.replace("-", "").upper())
            assert port.pop("schema") == "smartvif.attach/1"
            assert set(port) == PORT_KEYS
            assert (port["vm"], port["mode"], port["switch"]) == (vm, mode, "vrouter")
            assert (port["network"], port["bridge"], port["vlan"]) == (NETWORK, None, None)
            assert port["simulated"] == [*SIMULATED[mode], "vrouter"]
            check_ports(port)
            check_show(port, live=live)
            check_map(port)
            check_nic_list(port)
            check_tables(port)
            assert f"vRouter {NETWORK}" in smartvif("map").out
            assert f"vRouter {NETWORK[:8]}" in smartvif("ports").out
            document("detach", port["id"])
            assert everything(host()) == before


def check_show(port: dict[str, Any], *, live: bool) -> None:
    """``show`` knows what the agent says, the guest's side and the forwarder's."""
    shown = document("show", port["id"])
    assert set(shown) == PORT_KEYS | STATE_KEYS | SHOW_KEYS | {"schema"}
    assert shown["ovs"] is None
    told = {"id": "id", "vn-id": "network", "system-name": "switch_port", "mac-address": "mac"}
    assert {key: shown["vrouter"][key] for key in told} == {
        key: port[fact] for key, fact in told.items()
    }
    (interface,) = shown["guest"]
    assert set(interface) == GUEST_KEYS
    assert (interface["live"], interface["persistent"]) == (live, True)
    assert set(shown["relay"] or {}) == (OVS_KEYS if port["socket"] else set())
    assert all(step["done"] for step in shown["steps"])


@on_simulated_host(guests=1)
def test_a_port_may_wait_for_a_vrouter_that_is_down_where_it_can() -> None:
    """Without an agent a VF is not given; a tap's port waits in its file, and is unknown."""
    before = everything(host())
    host_vrouter().kill()
    for mode in ("direct", "virtio-forwarder"):
        refused(smartvif(*ask(mode=mode)), 3, "no vRouter agent runs")
    host_vrouter().start()
    assert everything(host()) == before

    host_vrouter().kill()
    port = join("vm1", "normal", NETWORK)
    assert host().drivers.need(VRouterAgent).files.read(port["id"]) is not None
    assert port["simulated"] == []
    assert state(3) == (None, "unknown: no vRouter agent runs")
    assert document("show", port["id"], code=3)["vrouter"] is None
    reconciled = document("reconcile", code=3)
    assert (reconciled["ports"], list(reconciled["failed"])) == ({}, [port["id"]])
    host_vrouter().start()
    assert state(0) == (True, "ok")
    assert document("show", port["id"])["simulated"] == ["vrouter"]

    host_vrouter().kill()
    document("detach", port["id"])
    host_vrouter().start()
    assert everything(host()) == before


def state(code: int) -> tuple[bool | None, str]:
    """What ``ports`` says of the one port, without details, and ends with ``code``."""
    (port,) = document("ports", code=code)["ports"]
    return port["working"], ": ".join(port["health"].split(": ")[:2])


@on_simulated_host(guests=1)
def test_a_refusal_of_the_agent_is_quoted_and_what_it_keeps_is_undone_later() -> None:
    """An agent that says no is quoted; what it would not undo either, reconcile undoes after."""
    before = everything(host())
    set_faults(answer=[500, "out of order"])
    for mode in MODES:
        answer = smartvif(*ask(mode=mode))
        assert (answer.code, answer.out) == (1, "")
        assert "the vRouter agent refused the port: 500 out of order\n hint: " in answer.err
        assert "cannot undo 'add " in answer.err
    left = document("ports", code=1)["ports"]
    assert [port["health"].partition(":")[0] for port in left] == ["plugging"] * 3
    reconciled = document("reconcile", code=1)["failed"]
    assert reconciled.keys() == {port["id"] for port in left}
    assert all("500 out of order" in each["what"] for each in reconciled.values())
    set_faults(answer=None)
    document("reconcile")
    assert everything(host()) == before


@pytest.mark.parametrize("mode", MODES)
def test_what_was_taken_away_behind_our_back_is_made_again(mode: str) -> None:
    """Without its file, or in the agent, or both, a port is wrong until reconcile has been."""

    @on_simulated_host(guests=1)
    def inside() -> None:
        port = join("vm1", mode, NETWORK)
        before = everything(host())
        for takings in ([drop_file], [drop_port], [drop_file, drop_port]):
            for take in takings:
                take(port["id"])
            assert everything(host()) != before
            again = f"do again: add {port['switch_port']} to the vRouter, network {NETWORK}"
            assert document("reconcile", "--dry-run")["ports"] == {port["id"]: again}
            document("reconcile")
            assert everything(host()) == before, takings
            assert state(0) == (True, "ok")
        for take in (drop_file, drop_port):
            take(port["id"])
        assert state(1) == (False, f"file of port {port['id']}: not there")
        document("detach", port["id"])
        assert document("ports")["ports"] == []

    inside()


def drop_file(port: str) -> None:
    """Remove a port's file, from which the agent would make the port at its start."""
    (host_vrouter().ports / port).unlink()


def drop_port(port: str) -> None:
    """Have the agent forget a port, and leave its file."""
    file = host_vrouter().ports / port
    text = file.read_text() if file.exists() else None
    request(api.PORT, "DELETE", f"/port/{port}")
    if text is not None:
        file.write_text(text)
