"""What a plan is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

from smartvif.drivers.drivers import Drivers
from smartvif.model.verdict import Verdict
from smartvif.observe.observation import Observation, Scope

Snapshot = dict[str, Any]
"""What a step found before it acted, as JSON can hold it. Its undo puts that back."""


class Step(Protocol):
    """One act and its inverse, as a frozen value whose fields JSON can hold.

    ``find`` is written to the journal before ``do``, so that ``undo`` can put things back even
    when the process died in between. ``undo`` follows a ``do`` that may have happened wholly, in
    part or not at all, and takes absence as done.
    """

    KIND: ClassVar[str]
    """Its name in the journal, which stays whatever the class is called."""

    def describe(self) -> str:
        """What it does, as a clause for people."""

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """What ``undo`` will have to put back. Reads only."""

    def do(self, drivers: Drivers) -> None:
        """Act; twice is once."""

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Put back what was found."""

    def scope(self) -> Scope:
        """What ``compare`` looks at."""

    def compare(self, seen: Observation) -> Verdict:
        """Whether what ``do`` makes is there. Pure."""


class NetdevRole(StrEnum):
    """What a netdev is to a VF; the values are the fields of ``VfNames``."""

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


Plan = tuple[Step, ...]
