"""Guests behind the forwarder outlive it, and it outlives them: nobody has to do anything."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from smartvif.demo.demo import host_state
from smartvif.drivers.kernel.links import Links
from smartvif.sim.guest.ping import Pinging
from smartvif.sim.host import FORWARDER, FORWARDER_NETNS, forwarder_switch
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import (
    attach,
    configure,
    document,
    eventually_pings,
    guest,
    guests,
    host,
    pings,
)

ONE, TWO = "10.0.0.1", "10.0.0.2"


def joined() -> dict[str, Any]:
    """vm1 on a tap and vm2 behind the forwarder, with addresses; the latter's port."""
    peer = attach("vm1", "normal")
    configure("vm1", peer["mac"], ONE)
    port = attach("vm2", "virtio-forwarder")
    configure("vm2", port["mac"], TWO)
    return port


def vswitchd() -> int:
    """The process of the forwarder's ovs-vswitchd."""
    return int((FORWARDER / "ovs-vswitchd.pid").read_text())


def end(process: int, how: signal.Signals) -> None:
    """End a process and wait until it is gone."""
    os.kill(process, how)
    while Path(f"/proc/{process}/cmdline").exists() and _runs(process):
        time.sleep(0.001)


def _runs(process: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_the_forwarder_ends_under_traffic(how: signal.Signals) -> None:
    """Three times, and each time the guest's pings are answered again by themselves."""
    _ends_under_traffic(how)


@on_simulated_host(guests=2)
def _ends_under_traffic(how: signal.Signals) -> None:
    port = joined()
    before = host_state(host())
    for _ in range(3):
        process = vswitchd()
        pinging = Pinging(guest("vm2"), ONE)
        end(process, how)
        assert eventually_pings("vm2", ONE)
        found = pinging.stop()
        assert vswitchd() != process
        assert found.lost > 0, "it was not even disturbed"
        print(f"{how.name}: {found.longest_gap:.2f} s without an answer, {found.lost} lost")
    assert document("show", port["id"])["working"]
    assert document("reconcile")["ports"] == {}
    assert host_state(host()) == before


@on_simulated_host(guests=2)
def test_the_guest_is_switched_off_and_on() -> None:
    """Its relay waits for it, and serves it again when it is back."""
    port = joined()
    for _ in range(2):
        guests().stop("vm2")
        assert not document("show", port["id"])["link_up"]
        guests().start("vm2")
        guests().wait_ready("vm2")
        configure("vm2", port["mac"], TWO)
        assert eventually_pings("vm2", ONE)
    assert document("show", port["id"])["link_up"]


@on_simulated_host(guests=2)
def test_what_the_forwarder_has_lost_is_made_anew() -> None:
    """A VF back on the host, a bridge gone, a port gone, an empty database: reconcile mends it."""
    port = joined()
    before = lasting()
    netdev, number = f"p0v{int(port['vf'][-1])}", port["id"][:11]
    again = {port["id"]: f"do again: relay {netdev} to {port['socket']}"}
    for lose in (_give_back, _del_bridge, _del_port, _empty_database):
        lose(netdev, number)
        assert pings("vm2", ONE, count=1) == 0, lose
        assert document("reconcile", "--dry-run")["ports"] == again, lose
        assert document("reconcile")["ports"] == again, lose
        assert eventually_pings("vm2", ONE), lose
        assert document("reconcile")["ports"] == {}, lose
        assert lasting() == before, lose
        assert document("ports")["ports"][1]["health"] == "ok"


def lasting() -> set[str]:
    """All traces but the addresses of OVS's own links, which are new with each of them."""
    return {
        trace for trace in host_state(host()) if not re.match(r"forwarder: link (fwd-|ovs-)", trace)
    }


def _give_back(netdev: str, number: str) -> None:
    inside = Links(FORWARDER_NETNS)
    inside.move(netdev, None)
    inside.close()


def _del_bridge(netdev: str, number: str) -> None:
    _vsctl("del-br", f"fwd-{number}")


def _del_port(netdev: str, number: str) -> None:
    _vsctl("del-port", f"vhu-{number}")


def _empty_database(netdev: str, number: str) -> None:
    server = int((FORWARDER / "ovsdb-server.pid").read_text())
    end(vswitchd(), signal.SIGKILL)
    end(server, signal.SIGKILL)
    (FORWARDER / "conf.db").unlink()
    forwarder_switch(2).start()


def _vsctl(*words: str) -> None:
    subprocess.run(["ovs-vsctl", f"--db={forwarder_switch(2).address}", *words], check=True)


@on_simulated_host(guests=2)
def test_statistics_of_a_relay() -> None:
    """Both ways are counted at once, and rates are those of the second that is watched."""
    port = joined()
    before = document("show", port["id"])["relay_statistics"]
    assert pings("vm2", ONE, count=5, size=900) == 5
    after = document("show", port["id"])["relay_statistics"]
    for way in ("to_guest", "from_guest"):
        grown = {key: after[way][key] - before[way][key] for key in after[way]}
        assert 5 <= grown["packets"] <= 12, grown
        assert 5 * 942 <= grown["bytes"] <= 5 * 942 + 7 * 100, grown
        assert grown["drops"] == 0
    assert "packets_per_second" not in after["to_guest"]
    idle = document("show", port["id"], "--rates")["relay_statistics"]["to_guest"]
    assert idle["packets_per_second"] <= 3
    with ThreadPoolExecutor(1) as thread:
        pinging = thread.submit(guest("vm2").run, f"ping -c 600 -i 0.01 {ONE}", 60.0)
        eventually_more(port["id"], after["from_guest"]["packets"] + 50)
        busy = document("show", port["id"], "--rates")["relay_statistics"]
        pinging.result()
    for way in ("to_guest", "from_guest"):
        assert busy[way]["packets_per_second"] > 20, busy
        assert busy[way]["bytes_per_second"] == pytest.approx(
            98 * busy[way]["packets_per_second"], rel=0.1
        )
        assert busy[way]["drops_per_second"] == 0
    assert document("show", attach("vm1", "direct")["id"])["relay_statistics"] is None


def eventually_more(port: str, packets: int) -> None:
    """Wait until the relay has passed on so many packets of the guest."""
    while document("show", port)["relay_statistics"]["from_guest"]["packets"] < packets:
        pass
