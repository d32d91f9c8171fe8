"""The difference of two plans of one port: what of the old one is kept, changed or undone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from smartvif.plug.steps.step import Changeable, Plan, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    """A step of the new plan, and how it is reached.

    ``old`` is the place in the old plan of the step that it continues; None: it is to be done.
    ``stages`` are the steps to take one after the other, ``step`` the last of them; empty: ``step``
    was in the old plan already.
    """

    step: Step
    old: int | None
    stages: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDifference:
    """``undo`` are places in the old plan, in the order to undo them; ``steps`` the new plan."""

    undo: tuple[int, ...]
    steps: tuple[StepChange, ...]

    @property
    def is_none(self) -> bool:
        """Whether both plans are the same."""
        kept = [each.old for each in self.steps if not each.stages]
        return not self.undo and kept == list(range(len(self.steps)))


def difference(old: Plan, new: Plan) -> PlanDifference:
    """How a port with the plan ``old`` gets the plan ``new``.

    No step that is in both is undone, nor one that can be changed in place (``Changeable``).
    """
    left = dict(enumerate(old))
    kept: dict[int, int] = {}
    for place, step in enumerate(new):
        same = next((number for number, each in left.items() if each == step), None)
        if same is not None:
            kept[place] = same
            del left[same]
    steps = []
    for place, step in enumerate(new):
        if place in kept:
            steps.append(StepChange(step=step, old=kept[place], stages=()))
            continue
        found = next((n for n, each in left.items() if _stages(each, step)), None)
        stages = (step,) if found is None else _stages(left.pop(found), step)
        steps.append(StepChange(step=step, old=found, stages=stages))
    return PlanDifference(undo=tuple(sorted(left, reverse=True)), steps=tuple(steps))


def _stages(old: Step, new: Step) -> tuple[Step, ...]:
    return old.change_to(new) if isinstance(old, Changeable) else ()
