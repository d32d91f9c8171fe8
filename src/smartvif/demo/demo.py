"""The demonstration on a simulated host: one machine in each mode, pings, nothing left behind.

Once on Open vSwitch, and once more, with the same machines, on the vRouter.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartvif.context.host import HostContext
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.host import sriov
from smartvif.model.choices import Mode
from smartvif.model.errors import Failed, TimedOut
from smartvif.model.port_spec import PortSpec
from smartvif.operations.ports.attach import attach
from smartvif.operations.ports.detach import detach
from smartvif.operations.ports.inventory import read_obstacles
from smartvif.plug.journal import PortRecord
from smartvif.sim import host as sim
from smartvif.sim.guest.console import Console
from smartvif.sim.guest.guests import SimulatedGuests
from smartvif.sim.nic.nic import NicLayout
from smartvif.status import map as prove_map
from smartvif.status import nics, ports
from smartvif.switches.ovs import OVS
from smartvif.switches.vrouter import VROUTER

HOST = sim.SimulatedHost(nic=NicLayout(pfs=1, vfs=8), guests=3)
"""The simulated host of the demonstration."""

NETWORK = "0e5eb1a2-7c3d-4a52-9f6e-5d0c8b3a1f42"
"""The virtual network on the vRouter."""

_WHERE: dict[str, dict[str, Any]] = {
    OVS.name: {"bridge": sim.BRIDGE},
    VROUTER.name: {"network": NETWORK},
}
PINGS = 5
_HOTPLUG = 60.0  # seconds for a guest to show an interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Packets from one guest to another."""

    source: str
    target: str
    sent: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchRound:
    """What was shown on one switch."""

    switch: str
    attached: tuple[PortRecord, ...]
    pings: tuple[Ping, ...]
    map: prove_map.HostMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the demonstration has shown."""

    rounds: tuple[SwitchRound, ...]
    leftovers: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every ping was answered and nothing is left."""
        pings = [ping for shown in self.rounds for ping in shown.pings]
        return all(ping.sent == ping.received for ping in pings) and not self.leftovers

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "guests": [
                {
                    "name": port.facts.vm,
                    "mode": str(port.facts.mode),
                    "switch": str(port.facts.switch),
                    "simulated": list(port.facts.simulated),
                }
                for shown in self.rounds
                for port in shown.attached
            ],
            "pings": [
                {
                    "switch": shown.switch,
                    "from": ping.source,
                    "to": ping.target,
                    "sent": ping.sent,
                    "received": ping.received,
                }
                for shown in self.rounds
                for ping in shown.pings
            ],
            "leftovers": list(self.leftovers),
        }


def demonstrate(host: HostContext, report: Callable[[str], None]) -> Result:
    """Attach the guests of ``HOST``, one in each mode, ping, detach; ``report`` gets each step.

    Raises: as attach and detach do.
    """
    before = host_state(host)
    rounds = tuple(_round(switch, host, report) for switch in _WHERE)
    left = host_state(host) ^ before
    return Result(rounds=rounds, leftovers=tuple(sorted(left)))


def _round(switch: str, host: HostContext, report: Callable[[str], None]) -> SwitchRound:
    attached = []
    for vm, mode in zip(HOST.guest_names, Mode, strict=True):
        request = PortSpec(vm=vm, mode=mode, switch=switch, **_WHERE[switch])
        attached.append(
            attach(request, host, on_step=lambda step, vm=vm: report(f"{vm}: {step.describe()}"))  # type: ignore[misc]
        )
    addresses = {}
    for number, record in enumerate(attached, start=1):
        addresses[record.facts.vm] = _configure(host, record, f"10.0.0.{number}")
        report(f"{record.facts.vm}: has address 10.0.0.{number}")
    pings = []
    for source, target in itertools.permutations(addresses, 2):
        pings.append(_ping(host, source, target, addresses[target]))
        report(f"{source} → {target}: {pings[-1].received} of {pings[-1].sent} answered")
    owners, pfs = {record.vf: record.id for record in attached if record.vf}, sriov.pfs()
    drawn = prove_map.build_map(
        nics.views(pfs, host.drivers.representors, owners, read_obstacles(pfs, host)),
        ports.views(host.journal, host.drivers).ports,
    )
    for record in attached:
        detach(record.id, host)
        report(f"{record.facts.vm}: detached")
    return SwitchRound(switch=switch, attached=tuple(attached), pings=tuple(pings), map=drawn)


def host_state(host: HostContext) -> set[str]:
    """Everything on the host that attaching may leave behind or change, in words."""
    found = set()
    for where, links in (("host", Links()), ("forwarder", Links(sim.FORWARDER_NETNS))):
        for name in links.names():
            link = links.get(name)
            if link is not None:
                state = "up" if link.up else "down"
                found.add(f"{where}: link {name} {link.mac} mtu {link.mtu} {state}")
        links.close()
    drivers = host.drivers
    found |= {
        f"Open vSwitch: port {port.name} on {port.bridge}"
        for port in drivers.need(OpenVSwitch).ports()
    }
    forwarder = OpenVSwitch(Ovsdb(host.settings.forwarder.database))
    found |= {f"forwarder: port {port.name}" for port in forwarder.ports()}
    vrouter = drivers.need(VRouterAgent).files.netdevs()
    found |= {f"vRouter: port {port} with {netdev}" for netdev, port in vrouter.items()}
    found |= {f"journal: port {record.id}" for record in host.journal.ports()}
    claims = host.claims.claims()
    found |= {f"claim: {claim.address} by {claim.owner}, {claim.state}" for claim in claims}
    found |= {f"socket: {path}" for path in Path(host.settings.forwarder.sockets).iterdir()}
    for vm in host.domains.names():
        found |= {f"{vm}: interface {each.mac}" for each in host.domains.interfaces(vm)}
    return found


def _configure(host: HostContext, record: PortRecord, address: str) -> str:
    """Give the guest's new interface an address; it takes a moment to appear."""
    console = _console(host, record.facts.vm)
    mac = record.facts.mac
    end = time.monotonic() + _HOTPLUG
    while True:
        code, name = console.run(f"grep -l {mac} /sys/class/net/*/address | cut -d/ -f5")
        if code == 0 and name.strip():
            break
        if time.monotonic() > end:
            raise TimedOut(f"no interface {mac} within {_HOTPLUG:g} s", where=record.facts.vm)
        time.sleep(0.2)
    netdev = name.decode().strip()
    code, said = console.run(f"ip addr add {address}/24 dev {netdev} && ip link set {netdev} up")
    if code != 0:
        raise Failed(f"cannot configure {netdev}: {said.decode()}", where=record.facts.vm)
    return address


def _ping(host: HostContext, source: str, target: str, address: str) -> Ping:
    _, said = _console(host, source).run(f"ping -c {PINGS} -i 0.2 -W 5 {address}", timeout=60.0)
    numbers = re.search(rb"(\d+) packets transmitted, (\d+) packets received", said)
    sent, received = (int(numbers[1]), int(numbers[2])) if numbers else (PINGS, 0)
    return Ping(source=source, target=target, sent=sent, received=received)


def _console(host: HostContext, vm: str) -> Console:
    return SimulatedGuests(host.settings.libvirt.uri, sim.GUESTS).wait_ready(vm)
