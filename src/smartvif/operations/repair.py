"""Repair ports: roll back those that were interrupted, take again the steps that do not hold.

The comparison is the one that ``ports`` shows. It is made from one reading of the host, and again
for each port alone, under its lock, before anything is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from smartvif.diff.ports import (
    PortVerdict,
    Repair,
    RepairAct,
    StepVerdict,
    compare_port,
    remedy,
    repair,
    scope_of,
)
from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import CannotTell, Damaged, Failed, NotFound, SmartvifError
from smartvif.model.verdict import Difference
from smartvif.observe.observation import Scope
from smartvif.observe.read import read
from smartvif.plug.each_port import MOST_THREADS, Action, Report, for_each_port
from smartvif.plug.executor import undo
from smartvif.plug.journal import Journal, JournalEntry, PortRecord, PortStatus
from smartvif.plug.steps.step import take_again


def repair_ports(
    journal: Journal,
    drivers: Drivers,
    *,
    leave: Collection[str] = (),
    machines: bool = True,
    dry_run: bool = False,
) -> Report:
    """Roll back interrupted ports, and take again the steps that differ from what is there.

    A port that another process is at work on is left alone, and so are those to ``leave``. All
    ports are repaired at the same time, so that they share the switch's transactions. Ports whose
    rows cannot be read are among the failed, and so are those that still differ afterwards.

    With ``machines=False`` libvirt is not used, which may not run or may wait for the caller: steps
    that change a machine are left out, and so are interrupted ports, whose rollback may have some.
    """
    repairs = _Repairs(journal, drivers if machines else replace(drivers, guests=None), machines)
    foreseen, failed = repairs.foresee(leave)
    report = Report(failed=failed)
    if dry_run:
        return report | repairs.each(list(foreseen), lambda port: repairs.say(port, foreseen[port]))
    # Two ports may have changed places: all are removed before one is put in its place.
    moved = [port for port, found in foreseen.items() if _misplaced(found)]
    return (
        report
        | repairs.each(moved, repairs.take_out)
        | repairs.each(list(foreseen), repairs.put_right)
    )


@dataclass(frozen=True, slots=True)
class _Repairs:
    """The repairs of one journal's ports, by one host's drivers."""

    journal: Journal
    drivers: Drivers
    machines: bool

    def foresee(self, leave: Collection[str]) -> tuple[dict[str, Repair], dict[str, SmartvifError]]:
        """What the ports need, from one reading of the host; and those that cannot be read."""
        readable, unreadable = self.journal.readable()
        known = [
            (record, self._concerned(entries))
            for record, entries in readable
            if record.id not in leave and self._may_repair(record)
        ]
        failed: dict[str, SmartvifError] = {
            port: error
            for port, error in unreadable.items()
            if port not in leave or isinstance(error, Damaged)
        }
        scope = Scope()
        for record, entries in known:
            scope |= scope_of(record, entries)
        seen = read(scope, self.drivers)
        found: dict[str, Repair] = {}
        for record, entries in known:
            try:
                needed = repair(record, compare_port(record, entries, seen))
            except CannotTell as error:
                failed[record.id] = error
            else:
                found |= {} if needed is None else {record.id: needed}
        return found, failed

    def each(self, ports: list[str], to_do: Callable[[str], Action | None]) -> Report:
        """Do for each of the ports what ``to_do`` says, under the port's lock."""
        return for_each_port(ports, to_do, self.journal, dry_run=False, threads=MOST_THREADS)

    def take_out(self, port: str) -> Action | None:
        """Take a port's rows off netdevs that are other devices' now."""
        found = self._read(port)
        if found is None or not _misplaced(found):
            return None

        def act() -> None:
            for each in _misplaced(found):
                each.entry.step.undo(self.drivers, {})  # what was found was another device's

        return Action(words=str(found), do=act)

    def put_right(self, port: str) -> Action | None:
        """Do what a port needs."""
        found = self._read(port)
        if found is None:
            return None
        self._refuse_impossible(port, found)
        return Action(words=str(found), do=lambda: self._act(port, found))

    def _read(self, port: str) -> Repair | None:
        compared = self._compare(port)
        return None if compared is None else repair(*compared)

    def _compare(self, port: str) -> tuple[PortRecord, PortVerdict] | None:
        record = self.journal.port(port)
        if record is None or not self._may_repair(record):
            return None
        entries = self._concerned(self.journal.entries(port))
        seen = read(scope_of(record, entries), self.drivers)
        return record, compare_port(record, entries, seen)

    def _may_repair(self, record: PortRecord) -> bool:
        return self.machines or record.status is PortStatus.PLUGGED

    def _concerned(self, entries: tuple[JournalEntry, ...]) -> tuple[JournalEntry, ...]:
        return tuple(each for each in entries if self.machines or not each.step.scope().machines)

    def _act(self, port: str, found: Repair) -> None:
        if found.act is RepairAct.UNDO:
            undo(port, self.journal, self.drivers)
        for each in found.steps:
            if each.now is not None:
                # It is the same device by another name, and so what was found of it holds.
                self.journal.doing(port, each.entry.number, each.now, each.entry.found)
            take_again(each.step, self.drivers)
            self.journal.done(port, each.entry.number)
        if found.act is RepairAct.AGAIN:
            self._check(port)

    def _check(self, port: str) -> None:
        """Compare a port once more. Raises: Failed, where it still differs."""
        compared = self._compare(port)
        problem = None if compared is None else compared[1].first_problem
        if isinstance(problem, Difference):
            raise Failed(
                f"it was repaired, and still differs: {problem}",
                where=f"port {port}",
                hint="another program may set it: find out which, and then: smartvif reconcile",
            )

    def say(self, port: str, found: Repair) -> Action:
        """What would be done for a port."""
        self._refuse_impossible(port, found)
        return Action(words=str(found), do=lambda: None)

    def _refuse_impossible(self, port: str, found: Repair) -> None:
        """Raises: NotFound, where the port's machine or its VF's representor is gone."""
        record, step = self.journal.port(port), found.impossible
        if step is not None and record is not None:
            hint = step.hint or remedy(record)
            raise NotFound(str(step.verdict), where=f"port {port}", hint=hint)


def _misplaced(found: Repair) -> list[StepVerdict]:
    return [each for each in found.steps if each.misplaced]
