"""How each attachment is: what the journal says, beside what the switch and the guest say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smartvif.drivers.ovs import PortState
from smartvif.guest.domain import Domains
from smartvif.model.errors import CannotTell, NotFound
from smartvif.plug.journal import Journal, PortRecord, PortStatus
from smartvif.plug.step import World
from smartvif.plug.steps.vf import Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One attachment. ``health`` is ``ok``, what is wrong, or why nobody can tell.

    ``working`` is None where nobody can tell.
    """

    id: str
    status: str
    vf: str | None
    facts: Mapping[str, Any]
    working: bool | None
    health: str

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "id": self.id,
            "status": self.status,
            "working": self.working,
            "health": self.health,
            "vf": self.vf,
            **self.facts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDetail:
    """One attachment with everything that is known of it."""

    view: PortView
    switch: PortState | None
    interfaces: tuple[dict[str, Any], ...]
    relay: dict[str, Any] | None
    steps: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        switch = self.switch
        return {
            **self.view.as_json(),
            "ovs": switch
            and {
                "ofport": switch.ofport,
                "error": switch.error,
                "link_up": switch.link_up,
                "external_ids": switch.external_ids,
                "statistics": switch.statistics,
            },
            "guest": list(self.interfaces),
            "relay": self.relay,
            "steps": list(self.steps),
        }


def views(journal: Journal, world: World) -> tuple[PortView, ...]:
    """Every attachment, with the switch asked once."""
    records = journal.ports()
    if not records:
        return ()
    try:
        ports = {port.name: port for port in world.ovs.ports()}
    except CannotTell as error:
        return tuple(_view(record, None, f"cannot tell: {error.what}") for record in records)
    return tuple(
        _view(record, *_health(record, ports.get(record.facts["switch_port"])))
        for record in records
    )


def detail(record: PortRecord, journal: Journal, world: World, domains: Domains) -> PortDetail:
    """One attachment in full.

    Raises: CannotTell, where OVS, libvirt or the forwarder does not answer.
    """
    switch = world.ovs.port(record.facts["switch_port"])
    entries = journal.entries(record.id)
    relays = [entry.step for entry in entries if isinstance(entry.step, Relay)]
    relay = None
    if relays and world.forwarder is not None:
        state = world.forwarder.state(relays[0].spec)
        relay = state and {
            "connected": state.connected,
            "error": state.error,
            "statistics": state.statistics,
        }
    return PortDetail(
        view=_view(record, *_health(record, switch)),
        switch=switch,
        interfaces=_interfaces(record, domains),
        relay=relay,
        steps=tuple(
            {"number": entry.number, "step": entry.step.describe(), "done": entry.done}
            for entry in entries
        ),
    )


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


def _health(record: PortRecord, port: PortState | None) -> tuple[bool, str]:
    if record.status is not PortStatus.PLUGGED:
        return False, f"{record.status}: half done; smartvif reconcile tidies it up"
    if port is None:
        return False, "its port is not in the switch any more"
    if port.owner != record.id:
        return False, f"its switch port belongs to {port.owner or 'something else'}"
    if port.bridge != record.facts["bridge"]:
        return False, f"its switch port is on bridge {port.bridge}"
    if port.error or (port.ofport or -1) < 0:
        return False, port.error or "the switch has not taken its port"
    return True, "ok"


def _view(record: PortRecord, working: bool | None, health: str) -> PortView:
    return PortView(
        id=record.id,
        status=str(record.status),
        vf=record.vf,
        facts=record.facts,
        working=working,
        health=health,
    )
