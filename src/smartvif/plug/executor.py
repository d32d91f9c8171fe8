"""Take the steps of a plan, and undo them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import NotFound, Refused, SmartvifError, StepFailed
from smartvif.model.port_facts import PortFacts
from smartvif.plug.journal import Journal, PortRecord, PortStatus
from smartvif.plug.orphans import remove_orphans
from smartvif.plug.replug import replug, undo_entry
from smartvif.plug.steps.step import Plan, Step

_log = logging.getLogger(__name__)

_MOST_THREADS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPlan:
    """One port to plug: its steps, and what the journal is to know of it."""

    port: str
    plan: Plan
    facts: PortFacts


def plug(
    planned: PortPlan,
    journal: Journal,
    drivers: Drivers,
    *,
    on_step: Callable[[Step], None] = lambda _: None,
) -> PortRecord:
    """Take every step that is planned for a port, or none. Returns what the journal has of it.

    A port that is plugged already is changed in place to the plan, as far as it can be, and of its
    steps those that no longer hold are taken again.
    Raises: StepFailed naming the step, after the ones before it were undone; Refused (VF in use);
    of a port that is plugged, as ``replug``.
    """
    port, plan = planned.port, planned.plan
    with journal.locked(port):
        record = journal.port(port)
        if record is not None and record.status is PortStatus.PLUGGED:
            replug(record, plan, journal, drivers, facts=planned.facts, on_step=on_step)
            return replace(record, facts=planned.facts)
        if journal.entries(port):
            undo(port, journal, drivers)
        try:
            journal.begin(port, planned.facts)
        except Refused:
            journal.forget(port)  # an earlier claim without steps
            raise
        for number, step in enumerate(plan):
            try:
                journal.doing(port, number, step, step.snapshot(drivers))
                step.do(drivers)
                journal.done(port, number)
                on_step(step)
            except BaseException as error:
                _roll_back(port, journal, drivers)
                if isinstance(error, SmartvifError):
                    raise StepFailed(step.describe(), error, where=f"port {port}") from error
                raise
        journal.set_status(port, PortStatus.PLUGGED)
    return PortRecord(id=port, status=PortStatus.PLUGGED, facts=planned.facts)


def adopt(port: str, step: Step, journal: Journal) -> None:
    """Append to a plugged port's plan a step that another program has taken; it is undone first.

    For one, the interface that a migrated guest has brought. Its undo must need nothing that was
    found. Idempotent.
    Raises: NotFound, where there is no such port.
    """
    with journal.locked(port):
        if not journal.has(port):
            raise NotFound("it is not plugged", where=f"port {port}")
        entries = journal.entries(port)
        if any(entry.step == step for entry in entries):
            return
        number = entries[-1].number + 1 if entries else 0
        journal.doing(port, number, step, {})
        journal.done(port, number)


def plug_many(
    ports: Sequence[PortPlan], journal: Journal, drivers: Drivers
) -> dict[str, SmartvifError]:
    """Plug several ports at the same time, so that they share the switch's transactions.

    Each by itself is plugged wholly or not at all. Returns why not, for those that are not.
    """
    failed: dict[str, SmartvifError] = {}

    def one(port: PortPlan) -> None:
        try:
            plug(port, journal, drivers)
        except SmartvifError as error:
            failed[port.port] = error

    with ThreadPoolExecutor(_MOST_THREADS) as threads:
        list(threads.map(one, ports))
    return failed


def unplug(port: str, journal: Journal, drivers: Drivers) -> None:
    """Undo every step that was taken for ``port``; a port that is not there is unplugged already.

    Of one that is not in the journal, orphans that carry our ownership are removed.
    Raises: Failed where a step cannot be undone: it and those before it stay, to be tried again;
    as ``remove_orphans``.
    """
    with journal.locked(port):
        if journal.has(port):
            undo(port, journal, drivers)
        else:
            remove_orphans(port, drivers)


def undo(port: str, journal: Journal, drivers: Drivers) -> None:
    """Undo every step that was taken for a port that the caller has locked.

    Raises: Failed where a step cannot be undone: it and those before it stay.
    """
    journal.set_status(port, PortStatus.UNPLUGGING)
    for entry in reversed(journal.entries(port)):
        undo_entry(port, entry, drivers)
        journal.undone(port, entry.number)
    journal.forget(port)


def _roll_back(port: str, journal: Journal, drivers: Drivers) -> None:
    """Undo as much as can be undone; what cannot stays in the journal for ``reconcile``."""
    for entry in reversed(journal.entries(port)):
        try:
            entry.step.undo(drivers, entry.found)
            journal.undone(port, entry.number)
        except SmartvifError as error:
            _log.error("cannot undo '%s' now: %s", entry.step.describe(), error)
    if not journal.entries(port):
        journal.forget(port)
