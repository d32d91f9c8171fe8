"""A machine whose tap is gone, as after a reboot, starts again where the hook is installed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from smartvif.context import settings
from smartvif.sim.host import OPENVSWITCH, SIMULATION, host_switch
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import (
    attach,
    configure,
    document,
    eventually_pings,
    guest,
    guests,
    smartvif,
)
from tests.support.libvirt_hooks import hooked

ADDRESSES = {"vm1": "10.0.0.1", "vm2": "10.0.0.2"}


def virsh_start(vm: str) -> subprocess.CompletedProcess[str]:
    """Start a machine, as a person does."""
    words = ["virsh", "-c", settings.load().libvirt.uri, "start", vm]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def as_after_a_reboot(vm: str, tap: str) -> None:
    """The machine is off, its tap is gone, and ovs-vswitchd starts without it."""
    guests().stop(vm)
    kill("ovs-vswitchd")
    subprocess.run(["ip", "link", "delete", tap], check=True)
    host_switch().start_vswitchd()


def kill(daemon: str) -> None:
    """Kill one of the switch's daemons."""
    os.kill(int((OPENVSWITCH / f"{daemon}.pid").read_text()), signal.SIGKILL)


@on_simulated_host(guests=2)
def test_a_machine_starts_after_a_reboot() -> None:
    """It has its port and pings; a start that the hook refuses says why."""
    ports = {vm: attach(vm, "normal") for vm in ADDRESSES}
    for vm, port in ports.items():
        configure(vm, port["mac"], ADDRESSES[vm])
    tap = ports["vm1"]["switch_port"]
    as_after_a_reboot("vm1", tap)
    assert virsh_start("vm1").returncode == 1
    root = SIMULATION / "root"
    root.mkdir()
    assert smartvif("host", "install", "--root", str(root)).code == 0
    with hooked(root / "etc/libvirt/hooks/qemu.d/smartvif") as operations:
        started = virsh_start("vm1")
        assert started.returncode == 0, started.stderr
        # And "reconnect" for the machine that libvirtd found running.
        mine = [each for each in operations if each != "reconnect"]
        assert mine == ["prepare", "start", "started"]
        guest("vm1")
        configure("vm1", ports["vm1"]["mac"], ADDRESSES["vm1"])
        assert eventually_pings("vm1", ADDRESSES["vm2"])
        assert {port["health"] for port in document("ports")["ports"]} == {"ok"}
        as_after_a_reboot("vm1", tap)
        answer = smartvif("reconcile", "--without-libvirt", "-f", "json")
        assert answer.code == 0, answer
        assert ports["vm1"]["id"] in answer.out
        assert Path(f"/sys/class/net/{tap}").exists()
        subprocess.run(["ip", "link", "delete", tap], check=True)
        kill("ovsdb-server")
        (OPENVSWITCH / "db.sock").unlink()
        refused = virsh_start("vm1")
        assert refused.returncode == 1
        assert "Hook script execution failed" in refused.stderr
        assert f"{ports['vm1']['id']}  error: " in refused.stderr
        assert "db.sock" in refused.stderr
        host_switch().start_database()
        assert virsh_start("vm1").returncode == 0
