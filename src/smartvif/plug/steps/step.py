"""The step, of which plans are made."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

from smartvif.drivers.drivers import Drivers
from smartvif.model.verdict import Verdict
from smartvif.observe.observation import Observation, Scope

Snapshot = dict[str, Any]
"""The state before a step acted, in JSON types; its undo restores it."""


class Step(Protocol):
    """One change and its inverse, as a frozen value whose fields are JSON types.

    The ``snapshot`` is written to the journal before ``do``, so that ``undo`` can restore the state
    even when the process died in between. ``undo`` follows a ``do`` that was completed, interrupted
    or never begun, and treats absence as done.
    """

    KIND: ClassVar[str]
    """Its name in the journal, which stays whatever the class is called."""

    def describe(self) -> str:
        """The change, as a clause in the imperative for people."""

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """The present state that ``undo`` has to restore. Reads only."""

    def do(self, drivers: Drivers) -> None:
        """Make the change. Idempotent."""

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Restore the state before the change. Idempotent."""

    def scope(self) -> Scope:
        """The parts of the host that ``compare`` needs."""

    def compare(self, seen: Observation) -> Verdict:
        """The verdict: whether the state that ``do`` makes is there. Pure."""


@runtime_checkable
class Again(Protocol):
    """A step that is not taken again as it was taken first."""

    def again(self, drivers: Drivers) -> None:
        """Make the change for a guest that may use it, and keep what the guest may have chosen."""


def take_again(step: Step, drivers: Drivers) -> None:
    """Take a step of a port that is plugged again."""
    if isinstance(step, Again):
        step.again(drivers)
    else:
        step.do(drivers)


class NetdevRole(StrEnum):
    """The role of a netdev for a VF; the values are the fields of ``VfNames``."""

    REPRESENTOR = "representor"
    OWN = "netdev"
    UPLINK = "uplink"


@runtime_checkable
class OnVfNetdev(Protocol):
    """A step that names a netdev of its port's VF. That name may change; the VF does not."""

    ROLE: ClassVar[NetdevRole]

    @property
    def vf_netdev(self) -> str | None:
        """The netdev, as it was called when the step was planned; None: it names none."""

    def renamed(self, netdev: str) -> Step:
        """The same step, by the name that the netdev has now."""


@runtime_checkable
class Changeable(Protocol):
    """A step whose object can be changed in place, while a machine uses it."""

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """The steps that, taken one after the other, make of this step's object that of ``new``.

        ``new`` is the last of them, and the snapshot stays this step's. Empty: it is another
        object, or cannot be changed in place. Pure.
        """


@runtime_checkable
class Held(Protocol):
    """A step whose object a running machine may hold, and could not get back if it were undone."""

    def holder(self, drivers: Drivers, new: Step | None) -> str | None:
        """What holds the object, as a clause for people; None: nothing does.

        ``new`` is the step of this kind that would be taken instead: None, too, if the machine
        keeps with it what it holds.
        """

    def is_same(self, new: Step) -> bool:
        """Whether ``new`` makes the same object, with other values. Pure."""


Plan = tuple[Step, ...]
