"""A host that is nothing but a set of names, and steps that put names into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import Failed, NotFound
from smartvif.model.known import Present, Unknown
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import PortFacts
from smartvif.model.verdict import HOLDS, Difference, Verdict
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.executor import PortPlan
from smartvif.plug.journal import Journal
from smartvif.plug.steps.step import Plan, Snapshot
from tests.support.facts import port_facts


class DiedError(BaseException):
    """The process is no more: nothing that it would do after this happens."""


@dataclass(kw_only=True)
class Toys:
    """A host that is nothing but a set of names.

    ``broken`` has the verbs that fail, as "do p1.a"; "did" fails after it has acted. The process
    dies when ``life`` more acts and writes have been made. What is ``stubborn`` is not there,
    however often it is made.
    """

    there: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    life: int | None = None
    stubborn: set[str] = field(default_factory=set)
    forwarder: None = None

    @property
    def links(self) -> Toys:
        """The links are toys as well."""
        return self

    @property
    def vfio(self) -> Toys:
        """It has no VF."""
        return self

    def read(self, address: PciAddress) -> None:
        raise NotFound("there is no such VF", where=str(address))

    @property
    def switches(self) -> dict[str, None]:
        """There is none."""
        return {}

    def get(self, name: str) -> str | None:
        self.act("check", name)
        return name if name in self.there - self.stubborn else None

    def vf_admin(self, *_: object) -> None:
        raise AssertionError("a toy has no VF")

    def act(self, verb: str, name: str) -> None:
        self.live()
        self.log.append(f"{verb} {name}")
        if f"{verb} {name}" in self.broken:
            raise Failed(f"{verb} {name} fails", where="toys", hint="mend it")

    def live(self) -> None:
        if self.life is not None:
            self.life -= 1
            if self.life < 0:
                raise DiedError

    def heard(self, verb: str) -> list[str]:
        return [line.split()[1] for line in self.log if line.split()[0] == verb]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """A step that puts a name into the world."""

    KIND: ClassVar[str] = "Toy"

    name: str

    def describe(self) -> str:
        return f"make {self.name}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        toys = cast(Toys, drivers)
        toys.act("find", self.name)
        return {"existed": self.name in toys.there}

    def do(self, drivers: Drivers) -> None:
        toys = cast(Toys, drivers)
        toys.act("do", self.name)
        toys.there.add(self.name)
        toys.act("did", self.name)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        toys = cast(Toys, drivers)
        toys.act("undo", self.name)
        if not found.get("existed"):
            toys.there.discard(self.name)

    def scope(self) -> Scope:
        return Scope(links=frozenset({self.name}))

    def compare(self, seen: Observation) -> Verdict:
        found = seen.link(self.name)
        if isinstance(found, Unknown):
            return found
        return HOLDS if isinstance(found, Present) else Difference(self.name, "there", "not there")


class MortalJournal(Journal):
    """The journal of a process that may die: from then on it writes nothing."""

    toys: Toys

    def _write_all(self, writes: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        self.toys.live()
        super()._write_all(writes)


def world(toys: Toys) -> Drivers:
    return cast(Drivers, toys)


def plan(port: str, letters: str) -> Plan:
    """A toy for each letter, which no other port has."""
    return tuple(Toy(name=f"{port}.{letter}") for letter in letters)


def planned(port: str, letters: str, facts: PortFacts | None = None) -> PortPlan:
    """Those toys for a port, with facts that matter to no test where none are given."""
    return PortPlan(port=port, plan=plan(port, letters), facts=facts or port_facts())


def names(planned: Plan) -> list[str]:
    return [cast(Toy, step).name for step in planned]
