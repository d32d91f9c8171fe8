"""How each attachment is: what was wanted beside what is there, for people.

The judgement is ``diff.ports``, which ``reconcile`` acts on as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from smartvif.diff.ports import compare_port, remedy, scope_of, with_present_name
from smartvif.drivers.drivers import Drivers, SwitchPortState
from smartvif.model.document import JsonObject
from smartvif.model.errors import CannotTell, NotFound
from smartvif.model.known import NOT_READ, Known, Present, Unknown
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import PortFacts
from smartvif.model.verdict import Gone
from smartvif.observe.observation import Observation, Scope
from smartvif.observe.read import read
from smartvif.plug.journal import Journal, JournalEntry, PortRecord, PortStatus
from smartvif.plug.steps.guest import AttachedInterface

if TYPE_CHECKING:
    from smartvif.guest.domains import Domains, GuestInterface
    from smartvif.status.relays import RelayView


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One attachment. ``health`` is ``ok``, what is wrong, or why it is unknown.

    ``working`` is None where it is unknown. ``link_up`` is the guest's side: up when the guest's
    driver is; None where it is unknown.
    """

    id: str
    status: str
    facts: PortFacts
    working: bool | None
    link_up: bool | None
    health: str

    @property
    def vf(self) -> PciAddress | None:
        """Its VF."""
        return None if self.facts.vf is None else self.facts.vf.address

    def as_json(self) -> JsonObject:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "id": self.id,
            "status": self.status,
            "working": self.working,
            "link_up": self.link_up,
            "health": self.health,
            "vf": None if self.vf is None else str(self.vf),
            **self.facts.as_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDetail:
    """One attachment with everything that is known of it."""

    view: PortView
    switch: Mapping[str, object] | None
    interfaces: tuple[GuestInterface, ...]
    relay: RelayView | None
    steps: tuple[JournalEntry, ...]

    def as_json(self) -> JsonObject:
        """Stable keys; documented in docs/reference/cli.md."""
        says = dict(self.switch) if self.switch else None
        return {
            **self.view.as_json(),
            "ovs": None,
            "vrouter": None,
            str(self.view.facts.switch): says,
            "guest": [
                {
                    "kind": each.kind,
                    "source": each.source,
                    "live": each.live,
                    "persistent": each.persistent,
                    "link_up": each.link_up,
                }
                for each in self.interfaces
            ],
            "relay": dict(self.relay.state.says) if self.relay is not None else None,
            "relay_statistics": self.relay.traffic if self.relay is not None else None,
            "steps": [
                {"number": each.number, "step": each.step.describe(), "done": each.done}
                for each in self.steps
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PortList:
    """Every attachment, and the rows of the journal that cannot be read, by port."""

    ports: tuple[PortView, ...]
    damaged: Mapping[str, CannotTell]


def views(journal: Journal, drivers: Drivers) -> PortList:
    """Every attachment, with each source asked once."""
    known, damaged = journal.readable()
    scope = Scope()
    for record, entries in known:
        scope |= _scope(record, entries)
    seen = read(scope, drivers)
    ports = tuple(_view(record, entries, seen) for record, entries in known)
    return PortList(ports=ports, damaged=damaged)


def detail(
    port: str, journal: Journal, drivers: Drivers, domains: Domains, *, rates: bool = False
) -> PortDetail:
    """One attachment in full, with ``rates`` of its relay's traffic as well: that takes a second.

    Raises: NotFound, Damaged; CannotTell, where libvirt or the forwarder does not answer.
    """
    from smartvif.status import relays

    record = journal.port(port)
    if record is None:
        raise NotFound(f"there is no port '{port}'", where="ports")
    entries = journal.entries(port)
    seen = read(_scope(record, entries), drivers)
    state = _switch_port(entries, seen)
    return PortDetail(
        view=_view(record, entries, seen),
        switch=state.as_json() if state is not None else None,
        interfaces=_interfaces(record, entries, domains),
        relay=relays.read(record, drivers, rates=rates),
        steps=tuple(replace(each, step=with_present_name(each.step, seen)) for each in entries),
    )


def _scope(record: PortRecord, entries: Sequence[JournalEntry]) -> Scope:
    netdev = record.facts.switch_port
    uuid = record.facts.vm_uuid
    links = Scope() if netdev is None else Scope(links=frozenset({netdev}))
    machine = Scope() if uuid is None else Scope(machines=frozenset({uuid}))
    return scope_of(record, entries) | links | machine


def _interfaces(
    record: PortRecord, entries: Sequence[JournalEntry], domains: Domains
) -> tuple[GuestInterface, ...]:
    """The machine's interfaces that are the port's."""
    if record.facts.vm_uuid is None:
        return ()
    try:
        found = domains.read(record.facts.vm_uuid).interfaces
    except NotFound:
        return ()
    made = [entry.step.identity for entry in entries if isinstance(entry.step, AttachedInterface)]
    # Nova's ports have no such step: what Nova wrote is not known here.
    return tuple(
        each
        for each in found
        if each.mac == record.facts.mac and (not made or each.identity in made)
    )


def _view(record: PortRecord, entries: Sequence[JournalEntry], seen: Observation) -> PortView:
    working, health = _health(record, entries, seen)
    state = _switch_port(entries, seen)
    facts = replace(
        record.facts,
        vm=_present_name(record.facts, seen),
        switch_port=_present_switch_port(record.facts, seen),
    )
    if state is not None and state.simulated and facts.switch not in facts.simulated:
        # It may have been down at the plug.
        facts = replace(facts, simulated=(*facts.simulated, facts.switch))
    return PortView(
        id=record.id,
        status=str(record.status),
        facts=facts,
        working=working,
        link_up=_link_up(record, entries, seen),
        health=health,
    )


def _present_name(facts: PortFacts, seen: Observation) -> str:
    """What the machine is called now; where that is unknown, what it was called at the plug."""
    machine = NOT_READ if facts.vm_uuid is None else seen.machine(facts.vm_uuid)
    return machine.value.name if isinstance(machine, Present) else facts.vm


def _present_switch_port(facts: PortFacts, seen: Observation) -> str | None:
    """The representor that faces the port's VF now; where it has none, as at the plug."""
    found = NOT_READ if facts.vf is None else seen.names_of(facts.vf).representor
    return found.value if isinstance(found, Present) else facts.switch_port


def _health(
    record: PortRecord, entries: Sequence[JournalEntry], seen: Observation
) -> tuple[bool | None, str]:
    if record.status is not PortStatus.PLUGGED:
        return False, f"{record.status}: not complete; smartvif reconcile rolls it back"
    problem = compare_port(record, entries, seen).first_problem
    if problem is None:
        return True, "ok"
    if isinstance(problem, Unknown):
        return None, f"unknown: {problem.what}"
    if isinstance(problem, Gone):
        return False, f"{problem}: {remedy(record)}"
    return False, str(problem)


def _link_up(record: PortRecord, entries: Sequence[JournalEntry], seen: Observation) -> bool | None:
    """A guest behind a forwarder is on the relay's link, any other on the switch's port.

    Where the machine's owner has set the interface's link down, it is down.
    """
    if not _link_allowed(entries, seen):
        return False
    relayed = [spec for entry in entries for spec in entry.step.scope().relays]
    if relayed:
        found = seen.relay(relayed[0])
        state = found.value.state if isinstance(found, Present) else None
        return None if state is None else state.link_up
    port = _switch_port(entries, seen)
    if port is not None and port.link_up is not None:
        return port.link_up
    link = seen.link(record.facts.switch_port or "")
    return link.value.up if isinstance(link, Present) else None


def _link_allowed(entries: Sequence[JournalEntry], seen: Observation) -> bool:
    """Whether the machine's owner has not set the link of the port's interface down."""
    for step in (entry.step for entry in entries):
        machine = seen.machine(step.uuid) if isinstance(step, AttachedInterface) else NOT_READ
        if isinstance(step, AttachedInterface) and isinstance(machine, Present):
            mine = [each for each in machine.value.interfaces if each.identity == step.identity]
            return all(each.link_up for each in mine)
    return True


def _switch_port(entries: Sequence[JournalEntry], seen: Observation) -> SwitchPortState | None:
    keys = [key for entry in entries for key in entry.step.scope().switch_ports]
    found: list[Known[object]] = [seen.switch_port(*key) for key in keys]
    present = [each.value for each in found if isinstance(each, Present)]
    return cast(SwitchPortState, present[0]) if present else None
