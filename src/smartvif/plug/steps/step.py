"""What a plan is made of."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from smartvif.drivers.drivers import Drivers

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

    def check(self, drivers: Drivers) -> bool:
        """Whether what ``do`` makes is there. Reads only."""


Plan = tuple[Step, ...]
