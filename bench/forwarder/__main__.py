"""The virtio forwarder: how long guests are cut off when it is killed, and what its relays carry.

Throughput is from a guest's end to where packets come out. That end is a sender of our own, for a
relay as for a tap: an emulated guest sends fewer packets than either takes.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

from bench.forwarder import throughput
from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.model.choices import Mode
from smartvif.model.port_spec import PortSpec
from smartvif.operations.ports.attach import attach
from smartvif.sim import host
from smartvif.sim.guest.console import Console
from smartvif.sim.guest.guests import SimulatedGuests
from smartvif.sim.guest.ping import Pinging, Replies
from smartvif.sim.host import FORWARDER, FORWARDER_NETNS
from smartvif.sim.nic.nic import NicLayout

SIZES = (64, 1500)
KILLS, QUICK_KILLS = 20, 1
ADDRESSES = {"vm1": "10.0.0.1", "vm2": "10.0.0.2"}


def carried(seconds: float, rounds: int) -> int:
    """What relays and taps carry, on a host without guests."""
    subprocess.run(["ip", "netns", "add", FORWARDER_NETNS], check=True)
    host.forwarder_switch(2).start()
    print(
        "From a guest's end, one sender, one queue; engine: OVS-DPDK. Alone: the median of rounds;"
    )
    print("with the switch, which shares the processors with them: the best of several paces")
    print(f"{'':<20}{'bytes':>7}{'kpps':>9}{'Gbit/s':>9}")
    rates = {}
    for result in throughput.measure(SIZES, seconds, rounds):
        rates[result.path, result.size] = result.packets_per_second
        kpps = result.packets_per_second / 1e3
        line = f"{result.path:<20}{result.size:>7}{kpps:>9.1f}{result.gbits:>9.2f}"
        print(line, flush=True)
    for where in ("alone", "and switch"):
        for size in SIZES:
            ratio = rates[f"relay {where}", size] / rates[f"tap {where}", size]
            print(f"relay to tap, {where}, {size} bytes: {ratio:.2f}")
    return 0


def killed(times: int) -> int:
    """SIGKILL the forwarder under a guest's traffic, so many times."""
    here = HostContext(settings.load())
    guests = SimulatedGuests(here.settings.libvirt.uri, host.GUESTS)
    modes = {"vm1": Mode.NORMAL, "vm2": Mode.VIRTIO_FORWARDER}
    for vm, mode in modes.items():
        record = attach(PortSpec(vm=vm, mode=mode, bridge=host.BRIDGE), here)
        _configure(guests.wait_ready(vm), record.facts.mac, ADDRESSES[vm])
    console = guests.wait_ready("vm2")
    _print_outages([_outage(console, ADDRESSES["vm1"]) for _ in range(times)])
    return 0


# A live migration under traffic is measured as a kill is: ``Pinging`` around it.


def _outage(console: Console, address: str) -> Replies:
    """Kill the forwarder under a guest's pings, which must be answered again, or it is TimedOut."""
    pinging = Pinging(console, address)
    console.run(_until_answered(address))
    process = int((FORWARDER / "ovs-vswitchd.pid").read_text())
    os.kill(process, signal.SIGKILL)
    while Path(f"/proc/{process}").exists():
        time.sleep(0.001)
    console.run(_until_answered(address))
    return pinging.stop()


def _until_answered(address: str) -> str:
    return f"until ping -c 1 -W 1 {address} >/dev/null; do :; done"


def _print_outages(outages: list[Replies]) -> None:
    seconds = sorted(each.longest_gap for each in outages)
    print(f"\nForwarder killed {len(outages)} times under pings, and each time back by itself")
    print("seconds without an answer, sorted:", " ".join(f"{each:.2f}" for each in seconds))
    middle = statistics.median(seconds)
    print(f"least {seconds[0]:.2f}, median {middle:.2f}, most {seconds[-1]:.2f}")


def _configure(console: Console, mac: str, address: str) -> None:
    wait = f"until name=$(grep -l {mac} /sys/class/net/*/address); do sleep 0.1; done"
    netdev = "netdev=$(basename $(dirname $name))"
    console.run(f"{wait}; {netdev}; ip addr add {address}/24 dev $netdev && ip link set $netdev up")


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="A smoke run: one kill, short rounds.")
def main(quick: bool) -> None:
    """Make the simulated hosts and run on them."""
    seconds, rounds = (0.2, 1) if quick else (1.0, 3)
    card = NicLayout(pfs=1, vfs=8)
    code = host.run(host.SimulatedHost(nic=card), lambda: carried(seconds, rounds))
    times = QUICK_KILLS if quick else KILLS
    code = host.run(host.SimulatedHost(nic=card, guests=2), lambda: killed(times)) or code
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Simulated SmartNIC, {os.cpu_count()} processors, load {load}")
    sys.exit(code)


if __name__ == "__main__":
    main()
