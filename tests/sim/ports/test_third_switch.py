"""A switch and a forwarder engine of another package, by the ordinary command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from smartvif.demo.demo import host_state
from smartvif.sim.host import BRIDGE, CONFIG
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import Answer, configure, eventually_pings, host, refused, smartvif
from tests.support.toys_installed import ENGINE, SWITCH, install

LINUX_BRIDGE = "lb0"
SECTION = f'[linuxbridge]\nbridges = ["{LINUX_BRIDGE}"]\n'
ADDRESSES = {"vm1": "10.0.0.1", "vm2": "10.0.0.2"}


def run(env: dict[str, str], *words: str, code: int = 0) -> Any:
    """The command where the toy package is installed; what it printed as JSON."""
    answer = smartvif(*words, "-f", "json", env=env)
    assert answer.code == code, answer
    return json.loads(answer.out)


def attach(vm: str, env: dict[str, str], **changed: str) -> Answer:
    """Attach a machine to the Linux bridge."""
    asked = {"vm": vm, "mode": "normal", "switch": "linuxbridge", "bridge": LINUX_BRIDGE, **changed}
    options = [word for name, value in asked.items() for word in (f"--{name}", value)]
    return smartvif("attach", *options, "-f", "json", env=env)


def ip(*words: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *words], check=True)


def configured(env: dict[str, str], where: Path, text: str) -> dict[str, str]:
    """The environment with another configuration; this process goes on with the host's own."""
    file = where / "smartvif.toml"
    file.write_text(text)
    return {**env, "SMARTVIF_CONFIG": str(file)}


def make_bridge() -> None:
    """The Linux bridge, which is no part of a simulated host."""
    # Without an address of its own it would take one of its ports.
    ip("link", "add", LINUX_BRIDGE, "address", "52:54:00:ff:00:01", "type", "bridge")
    ip("link", "set", LINUX_BRIDGE, "up")


@on_simulated_host(guests=2)
def test_a_third_switch(tmp_path: Path) -> None:
    """It is attached to, listed, repaired and detached from like ours, and guests talk over it."""
    make_bridge()
    before = host_state(host())
    env = install(tmp_path, switches=SWITCH)
    refused(attach("vm1", env), 3, "no 'linuxbridge' is configured")
    env = configured(env, tmp_path, CONFIG.read_text() + SECTION)
    refused(attach("vm1", env, bridge="lb9"), 4, "'lb9' is not for ports")
    refused(attach("vm1", env, vlan="7"), 2, "it means nothing to linuxbridge")
    refused(attach("vm1", env, mode="direct"), 2, "cannot carry VNIC type 'direct'")

    ports = {}
    for vm, address in ADDRESSES.items():
        answer = attach(vm, env)
        assert answer.code == 0, answer
        ports[vm] = json.loads(answer.out)
        configure(vm, ports[vm]["mac"], address)
    assert eventually_pings("vm1", ADDRESSES["vm2"])
    assert eventually_pings("vm2", ADDRESSES["vm1"])
    listed = run(env, "ports")["ports"]
    assert {port["vm"]: (port["switch"], port["bridge"], port["health"]) for port in listed} == {
        vm: ("linuxbridge", LINUX_BRIDGE, "ok") for vm in ADDRESSES
    }
    tap = ports["vm1"]["switch_port"]
    assert tap == f"tap{ports['vm1']['id']}"[:14]
    shown = run(env, "show", ports["vm1"]["id"])
    assert shown["linuxbridge"] == {"netdev": tap, "bridge": LINUX_BRIDGE}

    ip("link", "set", tap, "nomaster")
    (wrong,) = [port for port in run(env, "ports", code=1)["ports"] if not port["working"]]
    assert (wrong["id"], "on no bridge" in wrong["health"]) == (ports["vm1"]["id"], True), wrong
    assert run(env, "reconcile")["ports"] == {
        ports["vm1"]["id"]: f"do again: put {tap} on Linux bridge {LINUX_BRIDGE}"
    }
    assert eventually_pings("vm1", ADDRESSES["vm2"])
    run(env, "ports")

    for port in ports.values():
        run(env, "detach", port["id"])
    assert host_state(host()) == before


@on_simulated_host(guests=1)
def test_without_the_entry_point(tmp_path: Path) -> None:
    """A switch that no package registers is unknown, by name and by its section."""
    make_bridge()
    gone = install(tmp_path)
    answer = attach("vm1", gone)
    refused(answer, 2, "'linuxbridge' is not one of the switches that are installed")
    assert "there are: ovs, vrouter" in answer.err
    gone = configured(gone, tmp_path, CONFIG.read_text() + SECTION)
    refused(attach("vm1", gone), 2, "unknown section: 'linuxbridge'")


@on_simulated_host(guests=2)
def test_a_third_engine(tmp_path: Path) -> None:
    """Relays are made, listed, repaired and removed by it, and a guest behind it is reached."""
    before, told = host_state(host()), tmp_path / "told"
    told.mkdir()
    chosen = f'[forwarder]\nengine = "toy"\ndaemon = "{told}"'
    text = CONFIG.read_text().replace("[forwarder]", chosen)
    env = configured(install(tmp_path, forwarders=ENGINE), tmp_path, text)
    ports = {}
    for vm, mode in (("vm1", "virtio-forwarder"), ("vm2", "normal")):
        answer = attach(vm, env, mode=mode, switch="ovs", bridge=BRIDGE)
        assert answer.code == 0, answer
        ports[vm] = json.loads(answer.out)
        configure(vm, ports[vm]["mac"], ADDRESSES[vm])
    relay = told / ports["vm1"]["id"]
    assert [path.name for path in told.iterdir()] == [relay.name]
    assert eventually_pings("vm2", ADDRESSES["vm1"])

    relay.unlink()
    run(env, "ports", code=1)
    assert list(run(env, "reconcile")["ports"]) == [ports["vm1"]["id"]]
    assert relay.exists()
    run(env, "ports")

    for port in ports.values():
        run(env, "detach", port["id"])
    assert list(told.iterdir()) == []
    assert host_state(host()) == before
    gone = configured(install(tmp_path), tmp_path, text)
    refused(
        attach("vm1", gone, switch="ovs", bridge=BRIDGE),
        2,
        "'toy' is not one of the engines that are installed",
    )
