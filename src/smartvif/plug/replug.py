"""Plugging a port again that is plugged: what differs is changed in place, as far as it can be.

A machine may be running on the port, so the old port is worth more than the new plan. Steps are
undone before the journal has the new plan, and taken after. So whenever the process dies, the
journal has a plan that ``reconcile`` can bring the host to, and the port stays plugged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import Failed, Refused, SmartvifError, StepFailed
from smartvif.model.port_facts import PortFacts
from smartvif.model.verdict import Difference, Holds
from smartvif.observe.observation import Observation, Scope
from smartvif.observe.read import read
from smartvif.plug.difference import PlanDifference, StepChange, difference
from smartvif.plug.journal import Journal, JournalEntry, PortRecord
from smartvif.plug.steps.step import Held, NetdevRole, OnVfNetdev, Plan, Step, take_again

_log = logging.getLogger(__name__)

OnStep = Callable[[Step], None]


def replug(
    record: PortRecord,
    plan: Plan,
    journal: Journal,
    drivers: Drivers,
    *,
    facts: PortFacts,
    on_step: OnStep,
) -> None:
    """Give a plugged port, which the caller has locked, another plan, or take lost steps again.

    A value that cannot be changed while a machine runs stays as it is, with a warning.
    Raises: Refused, before anything is changed, for a plan without what a running machine holds,
    and for a VF in use; StepFailed, Failed, after what was changed has been restored; Failed, where
    another program has it otherwise again.
    """
    old = _follow_netdevs(record, plan, facts, journal, drivers)
    plan = _keep_what_is_held(record.id, old, plan, drivers)
    change = difference(tuple(entry.step for entry in old), plan)
    journal.check_vf(record.id, facts)
    work = _Replug(record=record, old=old, change=change, journal=journal, drivers=drivers)
    if change.is_none:
        if facts != record.facts:
            journal.rewrite(record.id, facts, old)
        acted = work.take(old, on_step)
    else:
        work.run(facts, on_step)
        acted = True
    if acted:
        _check(record.id, plan, drivers)


def scope(steps: Iterable[Step]) -> Scope:
    """All that has to be read to compare the steps."""
    return reduce(lambda found, step: found | step.scope(), steps, Scope())


def undo_entry(port: str, entry: JournalEntry, drivers: Drivers) -> None:
    """Undo one step. Raises: Failed naming the step."""
    try:
        entry.step.undo(drivers, entry.found)
    except SmartvifError as error:
        raise Failed(
            f"cannot undo '{entry.step.describe()}': {error.what}",
            where=error.where or f"port {port}",
            hint=error.hint or "remove the cause, then: smartvif reconcile",
        ) from error


@dataclass(kw_only=True)
class _Replug:
    """One port's way from its ``old`` steps to others."""

    record: PortRecord
    old: Sequence[JournalEntry]
    change: PlanDifference
    journal: Journal
    drivers: Drivers
    undone: list[int] = field(default_factory=list)
    new: Sequence[JournalEntry] = ()

    def run(self, facts: PortFacts, on_step: OnStep) -> None:
        """Undo, write the new plan, take its steps; or restore the port as it was."""
        port = self.record.id
        try:
            for place in self.change.undo:
                self.undone.append(place)
                undo_entry(port, self.old[place], self.drivers)
            entries = [self._entry(*each) for each in enumerate(self.change.steps)]
            self.journal.rewrite(port, facts, entries)
            self.new = entries
            self.take(entries, on_step)
        except BaseException:
            self._restore()
            raise

    def take(self, entries: Sequence[JournalEntry], on_step: OnStep) -> bool:
        """Take the stages of each step, and kept steps that do not hold; whether any was taken."""
        kept = [each.step for each in self.change.steps if not each.stages]
        seen = read(scope(kept), self.drivers)
        acted = False
        for entry, each in zip(entries, self.change.steps, strict=True):
            try:
                acted |= self._take(entry, each, seen, on_step)
            except SmartvifError as error:
                where = f"port {self.record.id}"
                raise StepFailed(each.step.describe(), error, where=where) from error
        return acted

    def _take(
        self, entry: JournalEntry, each: StepChange, seen: Observation, on_step: OnStep
    ) -> bool:
        port, found = self.record.id, entry.found
        if not each.stages:
            if entry.done and isinstance(each.step.compare(seen), Holds):
                return False
            take_again(each.step, self.drivers)
            self.journal.done(port, entry.number)
        elif each.old is None:
            found = each.step.snapshot(self.drivers)  # steps before it may have made its object
        for stage in each.stages:
            self.journal.doing(port, entry.number, stage, found)
            stage.do(self.drivers)
            self.journal.done(port, entry.number)
        on_step(each.step)
        return True

    def _entry(self, number: int, each: StepChange) -> JournalEntry:
        """The row of a step in the new plan; what an old step found is what its undo restores."""
        old = None if each.old is None else self.old[each.old]
        step = each.stages[0] if each.stages else each.step
        found = step.snapshot(self.drivers) if each.stages else {}
        if old is not None:
            found |= old.found
        done = old is not None and old.done and not each.stages
        return JournalEntry(number=number, step=step, found=found, done=done)

    def _restore(self) -> None:
        """Bring the port back to its old plan; what cannot be stays in the journal."""
        port = self.record.id
        stuck = []
        made = [entry.number for entry in self.new if self.change.steps[entry.number].old is None]
        for entry in reversed(self.journal.entries(port) if made else ()):
            if entry.number in made and not self._undone(entry):
                stuck.append(entry)
        touched = set(self.undone)
        if self.new:
            touched |= {
                each.old for each in self.change.steps if each.stages and each.old is not None
            }
        old = [
            replace(entry, number=number, done=entry.done and number not in touched)
            for number, entry in enumerate(self.old)
        ]
        more = [replace(entry, number=len(old) + n) for n, entry in enumerate(reversed(stuck))]
        self.journal.rewrite(port, self.record.facts, [*old, *more])
        for number in sorted(touched):
            try:
                take_again(old[number].step, self.drivers)
                self.journal.done(port, number)
            except SmartvifError as error:
                _log.error("cannot restore '%s' now: %s", old[number].step.describe(), error)

    def _undone(self, entry: JournalEntry) -> bool:
        try:
            entry.step.undo(self.drivers, entry.found)
        except SmartvifError as error:
            _log.error("cannot undo '%s' now: %s", entry.step.describe(), error)
            return False
        return True


def _keep_what_is_held(
    port: str, old: Sequence[JournalEntry], plan: Plan, drivers: Drivers
) -> Plan:
    """The plan with the old step in place of one that would take its object from a running machine.

    Raises: Refused, where the plan has nothing in its place.
    """
    for place in difference(tuple(entry.step for entry in old), plan).undo:
        step = old[place].step
        if not isinstance(step, Held):
            continue
        new = next((each for each in plan if each.KIND == step.KIND), None)
        holder = step.holder(drivers, new)
        if holder is None:
            continue
        if new is None or not step.is_same(new):
            raise Refused(
                f"cannot undo '{step.describe()}' for another plan: {holder}",
                where=f"port {port}",
                hint="stop the machine first; the port stays as it is",
            )
        _log.warning(
            "port %s: '%s' stays as it is until the machine is stopped: %s",
            port,
            step.describe(),
            holder,
        )
        plan = tuple(step if each is new else each for each in plan)
    return plan


def _follow_netdevs(
    record: PortRecord, plan: Plan, facts: PortFacts, journal: Journal, drivers: Drivers
) -> Sequence[JournalEntry]:
    """The port's steps by the names that the netdevs of its VF have in ``plan``.

    A name that a representor had is another device's now, of which only our port in the switch is
    removed, and nothing is restored.
    """
    entries = list(journal.entries(record.id))
    if facts.vf is None or facts.vf != record.facts.vf:
        return entries
    for place, entry in enumerate(entries):
        step = entry.step
        if not isinstance(step, OnVfNetdev) or step.vf_netdev is None:
            continue
        new = next((each for each in plan if each.KIND == entry.step.KIND), None)
        netdev = new.vf_netdev if isinstance(new, OnVfNetdev) else None
        if netdev is None or netdev == step.vf_netdev:
            continue
        if step.ROLE is NetdevRole.REPRESENTOR:
            entry.step.undo(drivers, {})
        now = step.renamed(netdev)
        journal.doing(record.id, entry.number, now, entry.found)
        entries[place] = replace(entry, step=now, done=False)
    return entries


def _check(port: str, plan: Plan, drivers: Drivers) -> None:
    """Compare the steps with the host. Raises: Failed, for the first that differs."""
    seen = read(scope(plan), drivers)
    for step in plan:
        verdict = step.compare(seen)
        if isinstance(verdict, Difference):
            raise Failed(
                f"it was plugged again, and still differs: {verdict}",
                where=f"port {port}",
                hint="another program may set it: find out which, and then: smartvif reconcile",
            )
