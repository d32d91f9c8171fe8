"""The step that makes a relay of the forwarder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.kernel.unix_sockets import is_served
from smartvif.model.known import Absent, Unknown
from smartvif.model.verdict import HOLDS, Difference, Verdict
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.step import NetdevRole, Snapshot, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderRelay:
    """A VF given to the forwarder, which relays it to a guest's socket."""

    KIND: ClassVar[str] = "Relay"
    ROLE: ClassVar[NetdevRole] = NetdevRole.OWN

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
        """Remove the relay; the VF is returned."""
        drivers.need_forwarder().remove(self.spec)

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Another MTU or number of queues."""
        same = self.is_same(new) and _socket(new) == self.spec.socket
        return (new,) if same else ()

    def is_same(self, new: Step) -> bool:
        """Whether it is a relay of the same port and VF."""
        return isinstance(new, ForwarderRelay) and (
            (new.spec.port_id, new.spec.netdev, new.spec.pci)
            == (self.spec.port_id, self.spec.netdev, self.spec.pci)
        )

    def holder(self, drivers: Drivers, new: Step | None) -> str | None:
        """A process that listens at its socket, which the other step has not."""
        path = self.spec.socket
        if _socket(new) == path or not is_served(path):
            return None
        return f"a process listens at {path}"

    def scope(self) -> Scope:
        """The relay."""
        return Scope(relays=frozenset({self.spec}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether the forwarder has the relay as specified, with the VF, and no error."""
        found, subject = seen.relay(self.spec), f"relay of {self.spec.vf}"
        if isinstance(found, Unknown):
            return found
        if isinstance(found, Absent) or found.value.state is None:
            return Difference(subject, "in the forwarder", "not in the forwarder")
        if found.value.state.failure is not None:
            failure = f"the forwarder says: {found.value.state.failure}"
            return Difference(subject, "working", failure)
        if not found.value.matches:
            return Difference(subject, "as it was made", "otherwise, or without its VF")
        return HOLDS

    @property
    def vf_netdev(self) -> str | None:
        """The VF's netdev, where it has one."""
        return self.spec.netdev

    def renamed(self, netdev: str) -> ForwarderRelay:
        """The same VF by another name."""
        return replace(self, spec=replace(self.spec, netdev=netdev))


def _socket(step: Step | None) -> str | None:
    return step.spec.socket if isinstance(step, ForwarderRelay) else None
