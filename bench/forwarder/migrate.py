"""Live migrations between two simulated hosts while another machine pings: what each one costs.

The machine has a normal port and one behind the forwarder, and goes there and back in turn. Beside
the packets and the gaps stands how long the whole command's work took.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial

import click

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.model.choices import Mode
from smartvif.model.errors import Failed
from smartvif.model.port_spec import PortSpec
from smartvif.operations.migration.peer import RemotePeer
from smartvif.operations.migration.source import migrate
from smartvif.operations.ports.attach import attach
from smartvif.sim import fleet
from smartvif.sim.fleet import Fleet
from smartvif.sim.guest.console import Console
from smartvif.sim.guest.ping import INTERVAL, Pinging, Replies
from smartvif.sim.host import BRIDGE, GUESTS, SimulatedHost
from smartvif.sim.nic.nic import NicLayout

FULL, QUICK = 20, 2
TRAVELLER, STAYER = "vm1", "vm2"
SUBNETS = {Mode.NORMAL: "10.0.0", Mode.VIRTIO_FORWARDER: "10.0.1"}
_HOTPLUG = 30.0  # seconds for a guest to show an interface
_CARD = NicLayout(pfs=2, vfs=4)  # the second PF's uplink joins the bridges


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One migration: ``seconds`` of work, and what became of the pings of each port."""

    seconds: float
    replies: dict[Mode, Replies]


def machines() -> None:
    """Attach both machines on this host and give them their addresses."""
    said(TRAVELLER, "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
    for mode, subnet in SUBNETS.items():
        give_address(TRAVELLER, plugged(TRAVELLER, mode), f"{subnet}.1")
    mac = plugged(STAYER, Mode.NORMAL)
    for subnet in SUBNETS.values():
        give_address(STAYER, mac, f"{subnet}.2")


def plugged(vm: str, mode: Mode) -> str:
    """Attach a machine to the bridge; the MAC address."""
    record = attach(PortSpec(vm=vm, mode=mode, bridge=BRIDGE), HostContext(settings.load()))
    mac: str = record.facts.mac
    return mac


def give_address(vm: str, mac: str, address: str) -> None:
    """Give the machine's interface an address once it is there."""
    wait = f"until grep -l {mac} /sys/class/net/*/address; do sleep 0.1; done | cut -d/ -f5"
    name = said(vm, wait)
    said(vm, f"ip addr add {address}/24 dev {name} && ip link set {name} up")


def said(vm: str, command: str) -> str:
    """What a command in a machine on this host says."""
    code, text = Console(GUESTS / f"{vm}.agent").run(command, timeout=_HOTPLUG)
    if code != 0:
        raise Failed(f"'{command}': {text.decode()}", where=vm)
    return text.decode().strip()


def start_pings() -> dict[Mode, Pinging]:
    """Ping the machine that moves from the one that stays on this host."""
    console = Console(GUESTS / f"{STAYER}.agent")
    return {mode: Pinging(console, f"{subnet}.1") for mode, subnet in SUBNETS.items()}


def stop_pings(running: dict[Mode, Pinging]) -> dict[Mode, Replies]:
    """Wait until all ports answer, and end the pings."""
    for subnet in SUBNETS.values():
        said(STAYER, f"until ping -c 1 -W 1 {subnet}.1 >/dev/null; do :; done")
    return {mode: ping.stop() for mode, ping in running.items()}


def move(to: str) -> float:
    """Move the machine from this host; how many seconds that took."""
    host = HostContext(settings.load())
    begun = time.monotonic()
    failed = migrate(TRAVELLER, host, RemotePeer(to, host.settings.migration), lambda _: None)
    if failed:
        raise Failed(f"not attached there: {failed}", where=to)
    return time.monotonic() - begun


def beside(moves: int, hosts: Fleet) -> int:
    """The whole bench, beside the two hosts."""
    one, other = hosts.hosts
    one.call(machines)
    print(f"Moves under a ping every {INTERVAL * 1e3:g} ms to each port; lost packets of all sent.")
    heads = "".join(f"{mode + ': lost':>24}{'longest gap':>13}" for mode in SUBNETS)
    print(f"{'':<16}{'whole':>8}{heads}")
    done = []
    for number in range(moves):
        source, target = (one, other) if number % 2 == 0 else (other, one)
        running = one.call(start_pings)
        seconds = source.call(move, target.name)
        done.append(Move(seconds=seconds, replies=one.call(stop_pings, running)))
        print(line(f"{source.name} → {target.name}", done[-1]), flush=True)
    print(f"{len(done)} of {moves} moves complete")
    for mode in SUBNETS:
        print(summary(mode, [each.replies[mode] for each in done]))
    return 0


def line(title: str, done: Move) -> str:
    """One move."""
    cells = "".join(
        f"{f'{each.lost} of {each.sent}':>24}{each.longest_gap * 1e3:10.0f} ms"
        for each in done.replies.values()
    )
    return f"{title:<16}{done.seconds:6.1f} s{cells}"


def summary(mode: Mode, replies: list[Replies]) -> str:
    """All moves of a port."""
    lost = [each.lost for each in replies]
    gaps = [each.longest_gap * 1e3 for each in replies]
    return (
        f"{mode}: lost packets median {statistics.median(lost):g}, most {max(lost)};"
        f" longest gap median {statistics.median(gaps):.0f} ms, most {max(gaps):.0f} ms"
    )


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="A smoke run: there and back once.")
def main(quick: bool) -> None:
    """Make the simulated hosts and move a machine between them."""
    hosts = [SimulatedHost(nic=_CARD, guests=2), SimulatedHost(nic=_CARD, visitors=2)]
    sys.exit(fleet.run_fleet(hosts, partial(beside, QUICK if quick else FULL)))


if __name__ == "__main__":
    main()
