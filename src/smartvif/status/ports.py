"""How each attachment is: what the journal says, beside what the switch and the guest say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import RelayState
from smartvif.guest.domains import Domains
from smartvif.model.errors import CannotTell, NotFound
from smartvif.plug.journal import Journal, PortRecord, PortStatus
from smartvif.status import relays, switches
from smartvif.status.relays import RelayView
from smartvif.status.switches import Look, SwitchView


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One attachment. ``health`` is ``ok``, what is wrong, or why nobody can tell.

    ``working`` is None where nobody can tell. ``link_up`` is the guest's side: up when the guest's
    driver is; None where nobody can tell.
    """

    id: str
    status: str
    vf: str | None
    facts: Mapping[str, Any]
    working: bool | None
    link_up: bool | None
    health: str

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "id": self.id,
            "status": self.status,
            "working": self.working,
            "link_up": self.link_up,
            "health": self.health,
            "vf": self.vf,
            **self.facts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDetail:
    """One attachment with everything that is known of it."""

    view: PortView
    switch: SwitchView
    interfaces: tuple[dict[str, Any], ...]
    relay: RelayView | None
    steps: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        on_vrouter = self.view.facts["switch"] == "vrouter"
        return {
            **self.view.as_json(),
            "ovs": None if on_vrouter else self.switch.says,
            "vrouter": self.switch.says if on_vrouter else None,
            "guest": list(self.interfaces),
            "relay": dict(self.relay.state.says) if self.relay is not None else None,
            "relay_statistics": self.relay.traffic if self.relay is not None else None,
            "steps": list(self.steps),
        }


def views(journal: Journal, drivers: Drivers) -> tuple[PortView, ...]:
    """Every attachment, with Open vSwitch and the forwarder asked once."""
    records = journal.ports()
    looks = _looks({str(record.facts["switch"]) for record in records}, journal, drivers)
    states: Mapping[str, RelayState] = {}
    unknown = None
    try:
        if drivers.forwarder is not None and any(record.facts["socket"] for record in records):
            states = drivers.forwarder.states()
    except CannotTell as error:
        unknown = error.what
    return tuple(
        _view(record, looks[record.facts["switch"]](record), states.get(record.id), unknown)
        for record in records
    )


def detail(
    record: PortRecord, journal: Journal, drivers: Drivers, domains: Domains, *, rates: bool = False
) -> PortDetail:
    """One attachment in full, with ``rates`` of its relay's traffic as well: that takes a second.

    Raises: CannotTell, where libvirt or the forwarder does not answer.
    """
    switch = _looks({record.facts["switch"]}, journal, drivers)[record.facts["switch"]](record)
    entries = journal.entries(record.id)
    relay = relays.look(record, drivers, rates=rates)
    return PortDetail(
        view=_view(record, switch, relay.state if relay is not None else None),
        switch=switch,
        interfaces=_interfaces(record, domains),
        relay=relay,
        steps=tuple(
            {"number": entry.number, "step": entry.step.describe(), "done": entry.done}
            for entry in entries
        ),
    )


def _looks(kinds: set[str], journal: Journal, drivers: Drivers) -> dict[str, Look]:
    """How to look at the ports of each switch; none that has no port is asked."""
    opened: dict[str, Callable[[], Look]] = {
        "ovs": lambda: switches.open_vswitch(drivers),
        "vrouter": lambda: switches.vrouter(drivers, journal),
    }
    return {kind: opened[kind]() for kind in kinds}


def _interfaces(record: PortRecord, domains: Domains) -> tuple[dict[str, Any], ...]:
    try:
        found = domains.interfaces(record.facts["vm"])
    except NotFound:
        return ()
    return tuple(
        {"kind": each.kind, "source": each.source, "live": each.live, "persistent": each.persistent}
        for each in found
        if each.mac == record.facts["mac"]
    )


def _view(
    record: PortRecord,
    switch: SwitchView,
    relay: RelayState | None,
    unknown: str | None = None,
) -> PortView:
    relayed = record.facts["mode"] == "virtio-forwarder"
    wrong = _wrong(record, switch, relay, relayed=relayed and unknown is None)
    unknown = None if wrong else switch.unknown or (unknown if relayed else None)
    # A guest behind a forwarder is on the relay's link, any other on the switch's port.
    link_up = (relay.link_up if relay is not None else None) if relayed else switch.link_up
    return PortView(
        id=record.id,
        status=str(record.status),
        vf=record.vf,
        facts=_facts(record, switch),
        working=None if unknown else wrong is None,
        link_up=link_up,
        health=f"cannot tell: {unknown}" if unknown else wrong or "ok",
    )


def _facts(record: PortRecord, switch: SwitchView) -> dict[str, Any]:
    """The record's, and that the switch is simulated: it may have been down at the plug."""
    simulated = record.facts["simulated"]
    if not switch.simulated or "vrouter" in simulated:
        return record.facts
    return {**record.facts, "simulated": [*simulated, "vrouter"]}


def _wrong(
    record: PortRecord, switch: SwitchView, relay: RelayState | None, *, relayed: bool
) -> str | None:
    """The first thing that is wrong, on the way from the journal to the guest."""
    if record.status is not PortStatus.PLUGGED:
        return f"{record.status}: half done; smartvif reconcile tidies it up"
    if switch.wrong:
        return switch.wrong
    if relayed and relay is None:
        return "the forwarder has no relay for it"
    return f"the forwarder: {relay.failure}" if relay is not None and relay.failure else None
