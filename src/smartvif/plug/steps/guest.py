"""The step that gives a guest its interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.model.known import Absent, Unknown
from smartvif.model.verdict import HOLDS, Difference, Verdict
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.step import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedInterface:
    """An ``<interface>`` of a libvirt domain, known by its MAC address."""

    KIND: ClassVar[str] = "GuestInterface"

    domain: str
    mac: str
    xml: str

    def describe(self) -> str:
        """Name the guest."""
        return f"attach the interface to guest {self.domain}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Nothing: an interface with that address that is there already is refused."""
        return {}

    def do(self, drivers: Drivers) -> None:
        """Attach it, to the running guest and to its definition."""
        drivers.need_guests().attach(self.domain, self.xml)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Detach it, and wait until the guest has let it go."""
        drivers.need_guests().detach(self.domain, self.mac)

    def scope(self) -> Scope:
        """The machine."""
        return Scope(machines=frozenset({self.domain}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether the running machine and its definition have it, as far as there are the two."""
        found = seen.machine(self.domain)
        if isinstance(found, Unknown):
            return found
        if isinstance(found, Absent):
            return Difference(f"machine {self.domain}", "there", "not there")
        machine, subject = found.value, f"interface {self.mac} of machine {self.domain}"
        mine = [each for each in machine.interfaces if each.mac == self.mac]
        if machine.running and not any(each.live for each in mine):
            return Difference(subject, "there", "not in the running machine")
        if machine.persistent and not any(each.persistent for each in mine):
            return Difference(subject, "there", "not in the machine's definition")
        return HOLDS
