"""Compare a port's steps with an observation, and derive its repair. Pure.

``ports`` and ``reconcile`` both use this comparison, and so cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce

from smartvif.model.errors import CannotTell
from smartvif.model.known import Absent, Known, Present, Unknown
from smartvif.model.port_facts import VfIdentity
from smartvif.model.verdict import Difference, Gone, Holds, Verdict
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.journal import JournalEntry, PortRecord, PortStatus
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.plug.steps.step import NetdevRole, OnVfNetdev, Step

_ROLES = {
    NetdevRole.REPRESENTOR: "representor",
    NetdevRole.OWN: "netdev",
    NetdevRole.UPLINK: "PF's netdev",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerdict:
    """One step. ``now`` is the same step with the present name of its VF's netdev, or of its
    machine, if that has changed.

    ``misplaced``: the recorded name is now another device's. ``missing``: the VF has no such
    netdev, so that taking the step again cannot help; ``hint`` is what may.
    """

    entry: JournalEntry
    verdict: Verdict
    now: Step | None = None
    misplaced: bool = False
    missing: bool = False
    hint: str = ""

    @property
    def step(self) -> Step:
        """The step as it is to be taken now."""
        return self.now or self.entry.step


@dataclass(frozen=True, slots=True, kw_only=True)
class PortVerdict:
    """A plugged port."""

    steps: tuple[StepVerdict, ...]

    @property
    def first_problem(self) -> Difference | Unknown | None:
        """What is gone; else the first difference; else the first that is unknown."""
        for kind in (Gone, Difference, Unknown):
            for each in self.steps:
                if isinstance(each.verdict, kind):
                    return each.verdict
        return None


def scope_of(record: PortRecord, entries: Iterable[JournalEntry]) -> Scope:
    """What ``compare_port`` looks at."""
    vf = record.facts.vf
    names = Scope() if vf is None else Scope(names=frozenset({vf}))
    return reduce(lambda scope, entry: scope | entry.step.scope(), entries, names)


def compare_port(
    record: PortRecord, entries: Sequence[JournalEntry], seen: Observation
) -> PortVerdict:
    """The verdict on each step of a port."""
    steps = (_compare(entry, record.facts.vf, seen) for entry in entries)
    return PortVerdict(steps=tuple(map(_completed, steps)))


def _completed(found: StepVerdict) -> StepVerdict:
    """The verdict, where the step is not recorded as done: its process died in a change of it."""
    if found.entry.done or not isinstance(found.verdict, Holds):
        return found
    return replace(found, verdict=Difference(found.step.describe(), "done", "interrupted"))


def _compare(entry: JournalEntry, vf: VfIdentity | None, seen: Observation) -> StepVerdict:
    step = entry.step
    if isinstance(step, AttachedInterface):
        now = with_present_name(step, seen)
        verdict = now.compare(seen)
        return StepVerdict(entry=entry, verdict=verdict, now=None if now == step else now)
    if vf is None or not isinstance(step, OnVfNetdev) or step.vf_netdev is None:
        return StepVerdict(entry=entry, verdict=step.compare(seen))
    found: Known[str] = getattr(seen.names_of(vf), step.ROLE)
    subject = f"{_ROLES[step.ROLE]} of VF {vf.address}"
    if isinstance(found, Present) and found.value != step.vf_netdev:
        difference = Difference(subject, found.value, f"{step.vf_netdev} is used")
        now = step.renamed(found.value)
        misplaced = step.ROLE is NetdevRole.REPRESENTOR
        return StepVerdict(entry=entry, verdict=difference, now=now, misplaced=misplaced)
    if step.ROLE is NetdevRole.REPRESENTOR and isinstance(found, Absent):
        taken = isinstance(seen.link(step.vf_netdev), Present)
        difference = Difference(subject, step.vf_netdev, found.why or "not there")
        return StepVerdict(
            entry=entry, verdict=difference, misplaced=taken, missing=True, hint=found.hint
        )
    if step.ROLE is NetdevRole.REPRESENTOR and isinstance(found, Unknown):
        return StepVerdict(entry=entry, verdict=found)
    return StepVerdict(entry=entry, verdict=step.compare(seen))


def with_present_name(step: Step, seen: Observation) -> Step:
    """A step as it is to be shown: with the name that its machine has now."""
    if not isinstance(step, AttachedInterface):
        return step
    machine = seen.machine(step.uuid)
    return step.called(machine.value.name) if isinstance(machine, Present) else step


class RepairAct(StrEnum):
    """The kinds of repair; the values are their names for people."""

    UNDO = "undo"
    AGAIN = "do again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The repair of a port, and its reason. ``steps`` are those to take again."""

    act: RepairAct
    reason: str
    steps: tuple[StepVerdict, ...] = ()

    @property
    def impossible(self) -> StepVerdict | None:
        """The first step that cannot be taken: its machine or representor is gone."""
        cannot = (each for each in self.steps if each.missing or isinstance(each.verdict, Gone))
        return next(cannot, None)

    def __str__(self) -> str:
        return f"{self.act}: {self.reason}"


def repair(record: PortRecord, verdict: PortVerdict) -> Repair | None:
    """The repair that a port needs; None where nothing differs.

    Raises: CannotTell, where nothing is known to differ and the unknown would remain when a step is
    taken again.
    """
    if record.status is not PortStatus.PLUGGED:
        return Repair(act=RepairAct.UNDO, reason=f"it was {record.status}")
    wrong = tuple(each for each in verdict.steps if _is_to_repeat(each))
    if wrong:
        reason = ", ".join(each.step.describe() for each in wrong)
        return Repair(act=RepairAct.AGAIN, reason=reason, steps=wrong)
    problem = verdict.first_problem
    if isinstance(problem, Unknown):
        raise CannotTell(problem.what, where=problem.where, hint=problem.hint)
    return None


def remedy(record: PortRecord) -> str:
    """What a person can do about a port for which something is gone."""
    freed = "what it has on this host" if record.vf is None else f"VF {record.vf}"
    return f"smartvif detach frees {freed}"


def _is_to_repeat(each: StepVerdict) -> bool:
    if isinstance(each.verdict, Unknown):
        return each.verdict.retry
    return not isinstance(each.verdict, Holds)
