"""The step that gives a guest its interface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.guest.xml import interface_xml, read_interface
from smartvif.model.guest_interface import InterfaceIdentity
from smartvif.model.known import Absent, Unknown
from smartvif.model.verdict import HOLDS, Difference, Gone, Verdict
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.step import Snapshot

if TYPE_CHECKING:
    from smartvif.model.vif import Machine, Vif


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedInterface:
    """An ``<interface>`` of the libvirt machine ``uuid``.

    ``domain`` is what the machine was called when the step was planned, for people only.
    """

    KIND: ClassVar[str] = "GuestInterface"

    uuid: str
    domain: str
    mac: str
    xml: str

    @classmethod
    def of(cls, machine: Machine, vif: Vif) -> AttachedInterface:
        """The step that gives the machine ``vif``.

        Raises: Invalid, for a VIF that lacks a value.
        """
        xml = interface_xml(vif)
        return cls(uuid=machine.uuid, domain=machine.name, mac=vif.address, xml=xml)

    def describe(self) -> str:
        """Name the guest."""
        return f"attach the interface to guest {self.domain}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Nothing: the interface is one that only this port can have."""
        return {}

    def do(self, drivers: Drivers) -> None:
        """Attach it, to the running guest and to its definition."""
        drivers.need_guests().attach(self.uuid, self.xml)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Detach it, and wait until the guest has let it go."""
        drivers.need_guests().detach(self.uuid, self.xml)

    def scope(self) -> Scope:
        """The machine."""
        return Scope(machines=frozenset({self.uuid}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether the running machine and its definition have it, as far as there are the two."""
        found = seen.machine(self.uuid)
        if isinstance(found, Unknown):
            return found
        if isinstance(found, Absent):
            return Gone(f"its machine {self.domain} ({self.uuid})", "there", "gone")
        machine = found.value
        subject = f"interface {self.mac} of machine {machine.name}"
        mine = [each for each in machine.interfaces if each.identity == self.identity]
        if machine.running and not any(each.live for each in mine):
            return Difference(subject, "there", "not in the running machine")
        if machine.persistent and not any(each.persistent for each in mine):
            return Difference(subject, "there", "not in the machine's definition")
        return HOLDS

    def called(self, name: str) -> AttachedInterface:
        """The same interface of the same machine, which has another name."""
        return replace(self, domain=name)

    @property
    def identity(self) -> InterfaceIdentity:
        """What it is known by among the machine's interfaces."""
        return read_interface(self.xml).identity
