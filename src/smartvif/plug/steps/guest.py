"""The step that gives a guest its interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import NotFound
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

    def check(self, drivers: Drivers) -> bool:
        """Whether the guest has it."""
        try:
            return any(
                each.mac == self.mac for each in drivers.need_guests().interfaces(self.domain)
            )
        except NotFound:
            return False
