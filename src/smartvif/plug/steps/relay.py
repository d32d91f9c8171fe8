"""The step that gives a VF to the forwarder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.plug.steps.step import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderRelay:
    """A VF given to the forwarder, which relays it to a guest's socket."""

    KIND: ClassVar[str] = "Relay"

    spec: RelaySpec

    def describe(self) -> str:
        """Name the VF and the socket."""
        return f"relay {self.spec.vf} to {self.spec.socket}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Nothing to put back."""
        return {}

    def do(self, drivers: Drivers) -> None:
        """Make the relay."""
        drivers.need_forwarder().add(self.spec, drivers.links)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Take it away; the VF comes back."""
        drivers.need_forwarder().remove(self.spec)

    def check(self, drivers: Drivers) -> bool:
        """Whether the forwarder has it as it should be, and the VF, without an error."""
        return drivers.need_forwarder().matches(self.spec)
