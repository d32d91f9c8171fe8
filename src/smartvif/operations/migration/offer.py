"""A machine and its ports, as one host describes them to another: the same on both, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from smartvif.model.document import JsonObject
from smartvif.model.errors import Damaged, Invalid
from smartvif.model.port_spec import PortSpec
from smartvif.model.vif import Machine
from smartvif.plug.journal import PortRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOffer:
    """A machine with its ports. Each keeps its identifier and its MAC address."""

    vm: str
    uuid: str
    ports: tuple[PortSpec, ...]

    @property
    def machine(self) -> Machine:
        """The machine."""
        return Machine(uuid=self.uuid, name=self.vm)

    def as_json(self) -> dict[str, object]:
        """The document for the other host."""
        ports = [port.as_json() for port in self.ports]
        return {"vm": self.vm, "uuid": self.uuid, "ports": ports}

    @classmethod
    def of(cls, vm: str, uuid: str, records: Iterable[PortRecord]) -> MachineOffer:
        """The machine with the ports of the journal's ``records``, which may have an older name."""
        ports = tuple(replace(record.facts.spec(record.id), vm=vm) for record in records)
        return cls(vm=vm, uuid=uuid, ports=ports)

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> MachineOffer:
        """What ``as_json`` gave.

        Raises: Invalid.
        """
        try:
            vm, uuid, ports = document["vm"], document["uuid"], document["ports"]
            if not (isinstance(vm, str) and isinstance(uuid, str) and isinstance(ports, list)):
                raise TypeError("vm and uuid are text, and ports a list")
            return cls(
                vm=vm, uuid=uuid, ports=tuple(PortSpec.from_json(vm, each) for each in ports)
            )
        except (KeyError, TypeError, Invalid) as error:
            raise Invalid(
                f"it is not the description of a machine: {error}",
                where="standard input",
                hint="both hosts need the same version of smartvif",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move to the host ``to`` under way; ``interfaces`` is what that host has prepared."""

    to: str
    offer: MachineOffer
    interfaces: Mapping[str, str] = field(default_factory=dict)

    def dump(self) -> str:
        """The text for the journal."""
        interfaces = dict(self.interfaces)
        return json.dumps({**self.offer.as_json(), "to": self.to, "interfaces": interfaces})

    @classmethod
    def load(cls, uuid: str, text: str) -> Move:
        """What ``dump`` gave, of the machine with this UUID.

        Raises: Damaged.
        """
        try:
            document = json.loads(text)
            offer = MachineOffer.from_json(document)
            return cls(to=document["to"], offer=offer, interfaces=document["interfaces"])
        except (KeyError, TypeError, ValueError, Invalid) as error:
            raise Damaged(
                f"its move cannot be read: {error}",
                where=f"journal, table moves, row {uuid}",
                hint="restore the journal from a backup",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationCheck:
    """The obstacles to receiving a machine.

    ``problem`` is the machine's own; ``ports`` has one, or None, for each port of the offer;
    ``address`` is where QEMU is to listen, None: where libvirt chooses.
    """

    problem: str | None
    ports: Mapping[str, str | None]
    address: str | None

    def as_json(self) -> JsonObject:
        """The document for the source, which ``from_json`` reads."""
        return {"problem": self.problem, "ports": dict(self.ports), "address": self.address}

    @classmethod
    def from_json(cls, document: JsonObject, offer: MachineOffer) -> DestinationCheck:
        """What ``as_json`` gave of that offer. Raises: Invalid."""
        try:
            ports = {port.id: document["ports"][port.id] for port in offer.ports}
            return cls(problem=document["problem"], ports=ports, address=document["address"])
        except (KeyError, TypeError) as error:
            raise Invalid(f"it does not say whether it can receive the machine: {error}") from error
