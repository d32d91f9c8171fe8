"""How each attachment is: what the journal says, beside what the switch and the guest say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smartvif.drivers.ovs_rows import PortState
from smartvif.guest.domain import Domains
from smartvif.model.errors import CannotTell, NotFound
from smartvif.plug.journal import Journal, PortRecord, PortStatus
from smartvif.plug.step import World
from smartvif.plug.steps.vf import Relay


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
    switch: PortState | None
    interfaces: tuple[dict[str, Any], ...]
    relay: PortState | None
    steps: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            **self.view.as_json(),
            "ovs": _port_json(self.switch),
            "guest": list(self.interfaces),
            "relay": _port_json(self.relay),
            "steps": list(self.steps),
        }


def _port_json(port: PortState | None) -> dict[str, Any] | None:
    if port is None:
        return None
    return {
        "ofport": port.ofport,
        "error": port.error,
        "link_up": port.link_up,
        "external_ids": port.external_ids,
        "statistics": port.statistics,
    }


def views(journal: Journal, world: World) -> tuple[PortView, ...]:
    """Every attachment, with the switch and the forwarder asked once."""
    records = journal.ports()
    if not records:
        return ()
    try:
        world.ovs.confirm()
        ports = {port.name: port for port in world.ovs.ports()}
        relays = {}
        if world.forwarder is not None and any(record.facts["socket"] for record in records):
            relays = {port.owner: port for port in world.forwarder.ovs.ports() if port.type}
    except CannotTell as error:
        return tuple(_view(record, None, None, error) for record in records)
    return tuple(
        _view(record, ports.get(record.facts["switch_port"]), relays.get(record.id))
        for record in records
    )


def detail(record: PortRecord, journal: Journal, world: World, domains: Domains) -> PortDetail:
    """One attachment in full.

    Raises: CannotTell, where OVS, libvirt or the forwarder does not answer.
    """
    world.ovs.confirm()
    switch = world.ovs.port(record.facts["switch_port"])
    entries = journal.entries(record.id)
    specs = [entry.step.spec for entry in entries if isinstance(entry.step, Relay)]
    relay = world.need_forwarder().relay_port(specs[0]) if specs else None
    return PortDetail(
        view=_view(record, switch, relay),
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


def _view(
    record: PortRecord,
    port: PortState | None,
    relay: PortState | None,
    unknown: CannotTell | None = None,
) -> PortView:
    wrong = _wrong(record, port, relay)
    # A guest behind a forwarder is on the relay's link, any other on the switch's port.
    link = relay if record.facts["socket"] else port
    return PortView(
        id=record.id,
        status=str(record.status),
        vf=record.vf,
        facts=record.facts,
        working=None if unknown else wrong is None,
        link_up=link.link_up if link is not None else None,
        health=f"cannot tell: {unknown.what}" if unknown else wrong or "ok",
    )


def _wrong(record: PortRecord, port: PortState | None, relay: PortState | None) -> str | None:
    """The first thing that is wrong, on the way from the journal to the guest."""
    if record.status is not PortStatus.PLUGGED:
        return f"{record.status}: half done; smartvif reconcile tidies it up"
    if port is None:
        return "its port is not in the switch any more"
    if port.owner != record.id or port.bridge != record.facts["bridge"]:
        return f"its switch port is on {port.bridge} and of {port.owner or 'something else'}"
    if port.failure:
        return f"the switch: {port.failure}"
    if record.facts["socket"] and relay is None:
        return "the forwarder has no relay for it"
    return f"the forwarder: {relay.failure}" if relay is not None and relay.failure else None
