"""A plugged port gets another plan: what can be kept is kept, and a failure restores the old."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import pytest

from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import Failed, Refused, StepFailed
from smartvif.operations.repair import repair_ports
from smartvif.plug.executor import PortPlan, plug, unplug
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.steps import codec
from smartvif.plug.steps.step import NetdevRole, Plan, Snapshot, Step
from tests.support.facts import port_facts
from tests.support.toys import DiedError, MortalJournal, Toy, Toys, plan, world

FACTS = port_facts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial(Toy):
    """A toy with a value that is changed in place, to 0 before any other."""

    KIND: ClassVar[str] = "Dial"

    value: int = 0

    def change_to(self, new: Step) -> tuple[Step, ...]:
        if not isinstance(new, Dial) or new.name != self.name:
            return ()
        return (new,) if new.value == 0 else (replace(new, value=0), new)

    def do(self, drivers: Drivers) -> None:
        toys = cast(Toys, drivers)
        toys.act("dial", f"{self.name}={self.value}")
        Toy.do(self, drivers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open(Toy):
    """A toy that a machine has open while it is broken so; ``queues`` are as they were made."""

    KIND: ClassVar[str] = "Open"

    queues: int = 1

    def is_same(self, new: Step) -> bool:
        return isinstance(new, Open) and new.name == self.name

    def holder(self, drivers: Drivers, new: Step | None) -> str | None:
        return "it is open" if "open" in cast(Toys, drivers).broken else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Representor(Toy):
    """A toy that is called as the representor of the port's VF is."""

    KIND: ClassVar[str] = "Representor"
    ROLE: ClassVar[NetdevRole] = NetdevRole.REPRESENTOR

    @property
    def vf_netdev(self) -> str:
        return self.name

    def renamed(self, netdev: str) -> Step:
        return replace(self, name=netdev)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        toys = cast(Toys, drivers)
        toys.act("restore" if found else "leave", self.name)
        toys.there.discard(self.name)


@pytest.fixture(autouse=True)
def _kinds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Dial, Open, Representor):
            patch.setitem(codec._KINDS, kind.KIND, kind)
        yield


def acts(toys: Toys) -> list[str]:
    return [line for line in toys.log if not line.startswith(("check ", "find ", "did "))]


def put(journal: Journal, toys: Toys, steps: Plan) -> None:
    plug(PortPlan(port="p", plan=steps, facts=FACTS), journal, world(toys))


def test_only_what_differs_is_undone(journal: Journal, toys: Toys) -> None:
    """A step of both plans stays, whatever its place; the others are undone first, in reverse."""
    put(journal, toys, plan("p", "abcd"))
    toys.log.clear()
    put(journal, toys, plan("p", "cea"))
    assert acts(toys) == ["undo p.d", "undo p.b", "do p.e"]
    assert toys.there == {"p.a", "p.c", "p.e"}
    assert [(e.number, e.step, e.done) for e in journal.entries("p")] == [
        (number, step, True) for number, step in enumerate(plan("p", "cea"))
    ]
    toys.log.clear()
    unplug("p", journal, world(toys))
    assert acts(toys) == ["undo p.a", "undo p.e", "undo p.c"]


def test_a_value_is_changed_in_place(journal: Journal, toys: Toys) -> None:
    """Each stage is taken, nothing is undone, and the first snapshot stays."""
    put(journal, toys, (Dial(name="p.a", value=1), *plan("p", "b")))
    toys.log.clear()
    put(journal, toys, (Dial(name="p.a", value=2), *plan("p", "b")))
    assert acts(toys) == ["dial p.a=0", "do p.a", "dial p.a=2", "do p.a"]
    assert [entry.step for entry in journal.entries("p")] == [
        Dial(name="p.a", value=2),
        *plan("p", "b"),
    ]
    assert journal.entries("p")[0].found == {"existed": False}
    unplug("p", journal, world(toys))
    assert toys.there == set()


def test_the_facts_are_the_new_ones(journal: Journal, toys: Toys) -> None:
    """A renamed machine's port has its new name, with a new plan and with the old one."""
    for letters in ("ab", "ab", "b"):
        for name in ("web", "db"):
            facts = port_facts(vm=name)
            plug(PortPlan(port="p", plan=plan("p", letters), facts=facts), journal, world(toys))
            record = journal.port("p")
            assert record is not None
            assert record.facts.vm == name
            assert record.status is PortStatus.PLUGGED


@pytest.mark.parametrize("broken", ["undo p.b", "dial p.a=2", "find p.c", "do p.c", "did p.c"])
def test_a_failure_restores_the_old_port(journal: Journal, toys: Toys, broken: str) -> None:
    """Wherever the change fails, the port is plugged by its old plan, and nothing new is left."""
    old = (Dial(name="p.a", value=1), *plan("p", "b"))
    put(journal, toys, old)
    toys.broken = {broken}
    with pytest.raises(Failed):
        put(journal, toys, (Dial(name="p.a", value=2), *plan("p", "c")))
    assert tuple(entry.step for entry in journal.entries("p")) == old
    assert all(entry.done for entry in journal.entries("p"))
    assert toys.there == {"p.a", "p.b"}
    dialled = [line for line in toys.log if line.startswith("dial ")]
    assert dialled[-1] == "dial p.a=1"
    toys.broken.clear()
    assert repair_ports(journal, world(toys)).done == {}


def test_what_cannot_be_restored_waits_for_reconcile(journal: Journal, toys: Toys) -> None:
    """An old step that cannot be taken again is known as not done, a new one that stays as well."""
    put(journal, toys, plan("p", "ab"))
    toys.broken = {"do p.d", "undo p.c", "do p.b"}
    with pytest.raises(StepFailed, match=r"do p\.d fails"):
        put(journal, toys, plan("p", "acd"))
    toys.broken.clear()
    assert [(entry.step, entry.done) for entry in journal.entries("p")] == [
        (step, step != Toy(name="p.b")) for step in plan("p", "abc")
    ]
    assert list(repair_ports(journal, world(toys)).done) == ["p"]
    put(journal, toys, plan("p", "ab"))
    assert toys.there == {"p.a", "p.b"}


@pytest.mark.parametrize("life", range(12))
def test_a_death_in_the_middle(
    journal: Journal, toys: Toys, tmp_path_factory: pytest.TempPathFactory, life: int
) -> None:
    """Whenever the process dies, the port stays plugged, and reconcile brings it to one plan."""
    mortal = MortalJournal(tmp_path_factory.mktemp("mortal"))
    mortal.toys = toys
    old = (Dial(name="p.a", value=1), *plan("p", "b"))
    new = (Dial(name="p.a", value=2), *plan("p", "c"))
    put(mortal, toys, old)
    toys.life = life
    with pytest.raises(DiedError):
        put(mortal, toys, new)
    toys.life = None
    record = mortal.port("p")
    assert record is not None
    assert record.status is PortStatus.PLUGGED
    repair_ports(mortal, world(toys))
    steps = tuple(entry.step for entry in mortal.entries("p"))
    assert steps in {old, new, (Dial(name="p.a", value=0), *plan("p", "c"))}
    assert toys.there == {cast(Toy, step).name for step in steps}
    put(mortal, toys, new)
    assert toys.there == {"p.a", "p.c"}
    mortal.close()


def test_what_a_machine_holds_stays_as_it_is(
    journal: Journal, toys: Toys, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be changed in place waits until the machine is stopped, with a warning."""
    put(journal, toys, (Open(name="p.a", queues=1), Dial(name="p.b", value=1)))
    toys.broken = {"open"}
    toys.log.clear()
    wanted = (Open(name="p.a", queues=4), Dial(name="p.b", value=0))
    with caplog.at_level(logging.WARNING):
        put(journal, toys, wanted)
    assert "stays as it is until the machine is stopped: it is open" in caplog.text
    assert acts(toys) == ["dial p.b=0", "do p.b"]
    assert journal.entries("p")[0].step == Open(name="p.a", queues=1)
    toys.broken.clear()
    toys.log.clear()
    put(journal, toys, wanted)
    assert acts(toys) == ["undo p.a", "do p.a"]
    assert tuple(entry.step for entry in journal.entries("p")) == wanted


def test_a_plan_without_what_a_machine_holds_is_refused(journal: Journal, toys: Toys) -> None:
    """A plan of another kind is refused before anything is changed."""
    old = (Open(name="p.a"), *plan("p", "b"))
    put(journal, toys, old)
    toys.broken = {"open"}
    toys.log.clear()
    for other in (plan("p", "bc"), (Open(name="p.x"), *plan("p", "b"))):
        with pytest.raises(Refused, match="it is open"):
            put(journal, toys, other)
    assert acts(toys) == []
    assert tuple(entry.step for entry in journal.entries("p")) == old


def test_a_vf_in_use_leaves_the_port(journal: Journal, toys: Toys) -> None:
    """A plan with another port's VF is refused, and the port keeps its own."""
    for port, vf in (("p", "0000:04:00.0"), ("q", "0000:04:00.1")):
        plug(PortPlan(port=port, plan=plan(port, "a"), facts=port_facts(vf)), journal, world(toys))
    toys.log.clear()
    with pytest.raises(Refused, match="in use by port q"):
        plug(
            PortPlan(port="p", plan=plan("p", "b"), facts=port_facts("0000:04:00.1")),
            journal,
            world(toys),
        )
    assert acts(toys) == []
    assert toys.there == {"p.a", "q.a"}


def test_a_representor_that_was_renamed(journal: Journal, toys: Toys) -> None:
    """Under its old name, another device's now, the port is removed and nothing is restored."""
    facts = port_facts("0000:04:00.0")
    plug(PortPlan(port="p", plan=(Representor(name="rep0"),), facts=facts), journal, world(toys))
    toys.log.clear()
    plug(PortPlan(port="p", plan=(Representor(name="rep1"),), facts=facts), journal, world(toys))
    assert acts(toys) == ["leave rep0", "do rep1"]
    assert toys.there == {"rep1"}
    assert [(e.step, e.done) for e in journal.entries("p")] == [(Representor(name="rep1"), True)]


def test_a_step_that_does_not_hold_after_it_was_taken(journal: Journal, toys: Toys) -> None:
    """A plug again does not say that a port is plugged where it differs."""
    put(journal, toys, plan("p", "ab"))
    toys.stubborn = {"p.a"}
    with pytest.raises(Failed, match=r"plugged again, and still differs: p\.a: not there"):
        put(journal, toys, plan("p", "ab"))
