"""Plugging, unplugging and recovering in a world of names, with failures and deaths anywhere."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import unittest
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smartvif.control import names as names_of
from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import Failed, NotFound, Refused, StepFailed
from smartvif.plug.executor import PortPlan, adopt, plug, plug_many, unplug
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.recover import recover
from smartvif.plug.steps import codec
from smartvif.plug.steps.step import Plan, Snapshot, Step


class DiedError(BaseException):
    """The process is no more: nothing that it would do after this happens."""


@dataclass(kw_only=True)
class Toys:
    """A host that is nothing but a set of names.

    ``broken`` has the verbs that fail, as "do p1.a"; "did" fails after it has acted. The process
    dies when ``life`` more acts and writes have been made.
    """

    there: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    life: int | None = None
    ovs: None = None
    vrouter: None = None
    forwarder: None = None

    @property
    def links(self) -> Toys:
        """The links are toys as well."""
        return self

    def get(self, name: str) -> str | None:
        return name if name in self.there else None

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

    def check(self, drivers: Drivers) -> bool:
        toys = cast(Toys, drivers)
        toys.act("check", self.name)
        return self.name in toys.there


class MortalJournal(Journal):
    """The journal of a process that may die: from then on it writes nothing."""

    toys: Toys

    def _write(self, query: str, values: tuple[Any, ...]) -> None:
        self.toys.live()
        super()._write(query, values)


@pytest.fixture(scope="module", autouse=True)
def _toys_are_steps() -> Iterator[None]:
    """The journal can read toys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(codec._KINDS, "Toy", Toy)
        yield


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A fresh one."""
    with contextlib.closing(Journal(tmp_path)) as made:
        yield made


@pytest.fixture
def toys() -> Toys:
    """An empty world."""
    return Toys()


def world(toys: Toys) -> Drivers:
    return cast(Drivers, toys)


def plan(port: str, letters: str) -> Plan:
    """A toy for each letter, which no other port has."""
    return tuple(Toy(name=f"{port}.{letter}") for letter in letters)


def names(planned: Plan) -> list[str]:
    return [cast(Toy, step).name for step in planned]


PORTS = st.sampled_from(["p1", "p2"])
LETTERS = "abcd"
PLANS = st.lists(st.sampled_from(LETTERS), min_size=1, unique=True).map("".join)
VFS = st.sampled_from([None, "0000:04:00.0", "0000:04:00.1"])
VERBS = ["find", "do", "did", "undo", "check"]
BROKEN = st.sets(
    st.builds("{} {}.{}".format, st.sampled_from(VERBS), PORTS, st.sampled_from(LETTERS)),
    max_size=3,
)
LIVES = st.integers(0, 40)
# What is there before us, by names that steps of ours have as well.
FOREIGN = frozenset({"p1.b", "p2.c"})


class ApplyMachine(RuleBasedStateMachine):
    """Two ports, any plans, and anything that breaks, is lost, or dies."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.toys = Toys(there=set(FOREIGN))
        self.journal = MortalJournal(self.directory)
        self.journal.toys = self.toys
        self.wanted: dict[str, Plan] = {}

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.directory)

    @contextlib.contextmanager
    def where(self, *, broken: set[str] | None = None, life: int | None = None) -> Iterator[None]:
        """For the time of one call things are broken, or the process dies after a while."""
        self.toys.log.clear()
        self.toys.broken, self.toys.life = broken or set(), life
        try:
            yield
        finally:
            self.toys.broken, self.toys.life = set(), None

    def taken(self, port: str) -> tuple[Step, ...]:
        return tuple(entry.step for entry in self.journal.entries(port))

    def is_plugged(self, port: str) -> bool:
        record = self.journal.port(port)
        return record is not None and record.status is PortStatus.PLUGGED

    def is_gone(self, port: str) -> bool:
        ours = {name for name in self.toys.there - FOREIGN if name.startswith(port)}
        return not ours and self.journal.port(port) is None

    def refused(self, verb: str) -> list[str]:
        return [name for name in self.toys.heard(verb) if f"{verb} {name}" in self.toys.broken]

    @rule(port=PORTS, letters=PLANS, vf=VFS, broken=BROKEN)
    def plug(self, port: str, letters: str, vf: str | None, broken: set[str]) -> None:
        """All steps, or none; or all but those whose undo failed; undone last to first."""
        asked, old = plan(port, letters), self.taken(port)
        kept = self.is_plugged(port) and old == asked
        with self.where(broken=broken):
            try:
                plug(port, asked, self.journal, world(self.toys), vf=vf)
                self.wanted[port] = asked
                failed = refused = False
            except (Failed, Refused) as error:
                failed, refused = True, isinstance(error, Refused)
            stuck = self.refused("undo")
            begun = [n for n in self.toys.heard("find") if f"find {n}" not in broken]
        assert self.is_plugged(port) == (kept or not failed)
        if not failed:
            assert set(names(asked)) <= self.toys.there
            assert self.taken(port) == asked
        elif refused and not old:
            # What a dead process has claimed stays claimed until recover frees it.
            assert (self.taken(port), self.toys.log) == ((), [])
        elif not kept and not stuck:
            assert self.is_gone(port)
        undone = self.toys.heard("undo")
        if kept:
            assert (undone, begun) == ([], [])
            return
        expected = names(old)[::-1] + (begun[::-1] if failed else [])
        if stuck and not begun:
            # Undoing the old plan stops at the first step that cannot be undone.
            expected = expected[: len(undone)]
            assert undone[-1] in stuck
        assert undone == expected

    @rule(port=PORTS, letters=PLANS, vf=VFS, life=LIVES)
    def die_plugging(self, port: str, letters: str, vf: str | None, life: int) -> None:
        """Whenever the process dies, the invariants hold."""
        with self.where(life=life), contextlib.suppress(DiedError, Refused):
            plug(port, plan(port, letters), self.journal, world(self.toys), vf=vf)
            self.wanted[port] = plan(port, letters)

    @rule(port=PORTS, broken=BROKEN)
    def unplug(self, port: str, broken: set[str]) -> None:
        """Either all is gone, or what cannot be undone and those before it are still known."""
        old = names(self.taken(port))
        with self.where(broken=broken):
            try:
                unplug(port, self.journal, world(self.toys))
                assert self.is_gone(port)
                assert self.toys.heard("undo") == old[::-1]
            except Failed:
                (stuck,) = self.refused("undo")
                assert names(self.taken(port)) == old[: old.index(stuck) + 1]

    @rule(port=PORTS, life=LIVES)
    def die_unplugging(self, port: str, life: int) -> None:
        """Whenever the process dies, the invariants hold."""
        with self.where(life=life), contextlib.suppress(DiedError):
            unplug(port, self.journal, world(self.toys))

    @rule(port=PORTS, letter=st.sampled_from(LETTERS))
    def lose(self, port: str, letter: str) -> None:
        """Somebody takes away what we made."""
        self.toys.there -= {f"{port}.{letter}"} - FOREIGN

    @rule()
    def recover(self) -> None:
        """Every port is plugged and whole, or gone; a second time there is nothing to do."""
        before = self.journal.ports(), set(self.toys.there)
        foreseen = recover(self.journal, world(self.toys), dry_run=True)
        assert before == (self.journal.ports(), self.toys.there)
        assert recover(self.journal, world(self.toys)) == foreseen
        for port in ("p1", "p2"):
            assert self.is_gone(port) or self.is_plugged(port)
            assert set(names(self.taken(port))) <= self.toys.there
        assert recover(self.journal, world(self.toys)) == {}

    @rule(life=LIVES)
    def die_recovering(self, life: int) -> None:
        """Whenever the process dies, the invariants hold."""
        with self.where(life=life), contextlib.suppress(DiedError):
            recover(self.journal, world(self.toys))

    @rule(port=PORTS)
    def recover_while_one_is_held(self, port: str) -> None:
        """The port that another is at work on is as before."""
        before = self.journal.port(port), self.journal.entries(port)
        there = {name for name in self.toys.there if name.startswith(port)}
        with contextlib.closing(Journal(self.directory)) as other, other.locked(port):
            assert port not in recover(self.journal, world(self.toys))
        assert before == (self.journal.port(port), self.journal.entries(port))
        assert there == {name for name in self.toys.there if name.startswith(port)}

    @invariant()
    def nothing_is_there_that_the_journal_does_not_know(self) -> None:
        """Whatever we made can be undone."""
        known = {name for port in ("p1", "p2") for name in names(self.taken(port))}
        assert self.toys.there - FOREIGN <= known

    @invariant()
    def what_is_not_ours_stays(self) -> None:
        """What was there before us is never taken away."""
        assert self.toys.there >= FOREIGN

    @invariant()
    def a_plugged_port_has_its_plan(self) -> None:
        """Of a plugged port every step is known, and done."""
        for port in filter(self.is_plugged, ("p1", "p2")):
            assert self.taken(port) == self.wanted[port]
            assert all(entry.done for entry in self.journal.entries(port))


TestApplyMachine = ApplyMachine.TestCase
TestApplyMachine.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def test_a_failed_plug_is_undone_last_to_first(journal: Journal, toys: Toys) -> None:
    """The steps that were taken, and the one that failed half-way, are undone in reverse."""
    toys.broken = {"did p.c"}
    with pytest.raises(StepFailed) as caught:
        plug("p", plan("p", "abcd"), journal, world(toys))
    assert toys.heard("undo") == ["p.c", "p.b", "p.a"]
    assert (toys.there, journal.ports()) == (set(), ())
    error = caught.value
    assert (error.step, error.what, error.hint) == ("make p.c", "did p.c fails", "mend it")


def test_each_step_is_heard_of_when_it_is_taken(journal: Journal, toys: Toys) -> None:
    """Progress names every step in order, and on a second plug none."""
    heard: list[Step] = []
    for _ in range(2):
        plug("p", plan("p", "abc"), journal, world(toys), on_step=heard.append)
        assert tuple(heard) == plan("p", "abc")
    assert toys.heard("do") == ["p.a", "p.b", "p.c"]


def test_an_interrupted_plug_is_undone(journal: Journal, toys: Toys) -> None:
    """Control-C is passed on as it is, after everything has been undone."""

    def interrupt(_: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plug("p", plan("p", "ab"), journal, world(toys), on_step=interrupt)
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_failed_mending_keeps_the_port(journal: Journal, toys: Toys) -> None:
    """A port that was plugged stays so, with its other steps, where a lost one cannot be redone."""
    plug("p", plan("p", "abc"), journal, world(toys))
    toys.there.remove("p.b")
    toys.broken = {"do p.b"}
    with pytest.raises(StepFailed, match=r"do p\.b fails"):
        plug("p", plan("p", "abc"), journal, world(toys))
    assert toys.there == {"p.a", "p.c"}
    assert journal.ports()[0].status is PortStatus.PLUGGED
    toys.broken.clear()
    plug("p", plan("p", "abc"), journal, world(toys))
    assert toys.there == {"p.a", "p.b", "p.c"}


def test_unplugging_three_times(journal: Journal, toys: Toys) -> None:
    """A port can be unplugged as often as one likes, and one that never was as well."""
    plug("p", plan("p", "ab"), journal, world(toys))
    for port in ("p", "p", "p", "never"):
        unplug(port, journal, world(toys))
        assert (toys.there, journal.ports()) == (set(), ())
    assert toys.heard("undo") == ["p.b", "p.a"]


@pytest.mark.parametrize("letters", ["", "ab"])
def test_a_step_that_somebody_else_took(journal: Journal, toys: Toys, letters: str) -> None:
    """It is not taken, adopted once however often it is, mended with the others, undone first."""
    plug("p", plan("p", letters), journal, world(toys))
    toys.there.add("p.z")
    toys.log.clear()
    for _ in range(2):
        adopt("p", Toy(name="p.z"), journal)
    assert toys.log == []
    assert [entry.step for entry in journal.entries("p")] == list(plan("p", f"{letters}z"))
    assert all(entry.done for entry in journal.entries("p"))
    assert recover(journal, world(toys)) == {}
    toys.there.discard("p.z")
    assert recover(journal, world(toys)) == {"p": "do again: make p.z"}
    adopt("p", Toy(name="p.y"), journal)
    journal.doing("p", 99, Toy(name="p.x"), {"existed": False})
    toys.log.clear()
    with contextlib.closing(Journal(journal._directory)) as another:
        unplug("p", another, world(toys))
    assert toys.heard("undo") == ["p.x", "p.y", "p.z", *(f"p.{x}" for x in reversed(letters))]
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_step_of_a_port_that_is_not_there(journal: Journal, toys: Toys) -> None:
    """Nothing can be adopted for a port that is not plugged."""
    with pytest.raises(NotFound, match="not plugged"):
        adopt("p", Toy(name="p.z"), journal)
    assert journal.entries("p") == ()


def test_ports_that_are_left(journal: Journal, toys: Toys) -> None:
    """A port that is to be left is neither mended nor undone, nor spoken of."""
    for port in "pqr":
        plug(port, plan(port, "a"), journal, world(toys))
    journal.set_status("q", PortStatus.UNPLUGGING)
    toys.there = {"q.a"}
    mended = {"r": "do again: make r.a"}
    assert recover(journal, world(toys), leave={"p", "q"}, dry_run=True) == mended
    assert recover(journal, world(toys), leave={"p", "q"}) == mended
    assert toys.there == {"q.a", "r.a"}


def test_what_bears_the_name_of_an_unknown_port(journal: Journal, toys: Toys) -> None:
    """A link that is named after a port which the journal does not know is left, with a warning."""
    toys.there = {names_of.tap("p")}
    with unittest.TestCase().assertLogs("smartvif.plug.orphans", "WARNING") as said:
        unplug("p", journal, world(toys))
    assert toys.there == {names_of.tap("p")}
    assert names_of.tap("p") in said.output[0]


def test_another_plan_replaces_the_old_one(journal: Journal, toys: Toys) -> None:
    """All of the old plan is undone before any of the new one is done."""
    plug("p", plan("p", "ab"), journal, world(toys))
    toys.log.clear()
    plug("p", plan("p", "bc"), journal, world(toys))
    acts = [line for line in toys.log if line.startswith(("do ", "undo "))]
    assert acts == ["undo p.b", "undo p.a", "do p.b", "do p.c"]
    assert toys.there == {"p.b", "p.c"}


def test_what_cannot_be_undone_waits(journal: Journal, toys: Toys) -> None:
    """A failed undo is known until reconcile can finish it, and the error says what to do."""
    plug("p", plan("p", "abc"), journal, world(toys))
    toys.broken = {"undo p.b"}
    with pytest.raises(Failed, match=r"cannot undo 'make p\.b'") as caught:
        unplug("p", journal, world(toys))
    assert (caught.value.where, caught.value.hint) == ("toys", "mend it")
    assert [entry.step for entry in journal.entries("p")] == list(plan("p", "ab"))
    toys.broken.clear()
    assert recover(journal, world(toys)) == {"p": "undo: it was unplugging"}
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_roll_back_goes_past_what_cannot_be_undone(journal: Journal, toys: Toys) -> None:
    """The other steps are undone at once, the one that cannot be stays for reconcile."""
    toys.broken = {"do p.d", "undo p.b"}
    with pytest.raises(StepFailed, match=r"do p\.d fails"):
        plug("p", plan("p", "abcd"), journal, world(toys))
    assert toys.there == {"p.b"}
    assert [entry.step for entry in journal.entries("p")] == list(plan("p", "b"))
    toys.broken.clear()
    recover(journal, world(toys))
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_vf_in_use(journal: Journal, toys: Toys) -> None:
    """No step is taken for a port whose VF another port has."""
    plug("p", plan("p", "a"), journal, world(toys), vf="0000:04:00.0")
    with pytest.raises(Refused, match="in use by port p"):
        plug("q", plan("q", "a"), journal, world(toys), vf="0000:04:00.0")
    assert toys.there == {"p.a"}
    assert [port.id for port in journal.ports()] == ["p"]


def test_a_plan_after_an_empty_one(journal: Journal, toys: Toys) -> None:
    """The steps of a port that was plugged without any are written like all others."""
    plug("p", (), journal, world(toys))
    plug("p", plan("p", "a"), journal, world(toys))
    unplug("p", journal, world(toys))
    assert toys.there == set()


@pytest.mark.parametrize("bad", ["do p.a", "undo p.a", "check p.a"])
def test_one_bad_port_does_not_hold_up_the_others(journal: Journal, toys: Toys, bad: str) -> None:
    """Every port is brought to an end that can be, and then the error is raised."""
    for port in ("p", "q", "r"):
        plug(port, plan(port, "a"), journal, world(toys))
    toys.there = {"r.a"}
    for port in ("r", "p") if bad == "undo p.a" else ("r",):
        journal.set_status(port, PortStatus.UNPLUGGING)
    toys.broken = {bad}
    with pytest.raises(Failed, match=rf"{bad} fails"):
        recover(journal, world(toys))
    assert toys.there == {"q.a"}
    assert journal.port("r") is None


def test_many_ports_at_once(journal: Journal, toys: Toys) -> None:
    """Each is plugged or not by itself, and the errors say which are not and why."""
    toys.broken = {"do q.b"}
    ports = [PortPlan(port=port, plan=plan(port, "ab"), vf=f"vf of {port}") for port in "pqr"]
    failed = plug_many(ports, journal, world(toys))
    assert {port: error.what for port, error in failed.items()} == {"q": "do q.b fails"}
    assert toys.there == {"p.a", "p.b", "r.a", "r.b"}
    assert {port.id: port.vf for port in journal.ports()} == {"p": "vf of p", "r": "vf of r"}


class RivalledJournal(Journal):
    """A journal beside another, which unplugs a port when its lock is given back the first time."""

    def __init__(self, directory: Path, rival: Journal, toys: Toys, *ports: str) -> None:
        self.rival, self.toys, self.left = rival, toys, set(ports)
        super().__init__(directory)

    @contextlib.contextmanager
    def locked(self, port: str, *, wait: bool = True) -> Iterator[bool]:
        with super().locked(port, wait=wait) as held:
            yield held
        if port in self.left:
            self.left.remove(port)
            unplug(port, self.rival, world(self.toys))


def test_what_is_unplugged_meanwhile_is_not_mended(
    journal: Journal, toys: Toys, tmp_path: Path
) -> None:
    """What another takes away after recover has looked at it does not come back."""
    for port in ("p", "q"):
        plug(port, plan(port, "a"), journal, world(toys))
    toys.there.clear()
    with contextlib.closing(RivalledJournal(tmp_path, journal, toys, "p", "q")) as rivalled:
        recover(rivalled, world(toys))
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_full_disk(journal: Journal, toys: Toys, tmp_path: Path) -> None:
    """Where the journal cannot be written nothing is done, and the error says which file."""
    ((pages,),) = journal._rows("PRAGMA page_count", ())
    journal._rows(f"PRAGMA max_page_count = {pages}", ())
    with pytest.raises(Failed, match="disk is full") as caught:
        plug("p", plan("p", "a"), journal, world(toys), facts={"much": "x" * 100_000})
    assert caught.value.where == str(tmp_path / "state.db")
    assert (toys.there, journal.ports()) == (set(), ())
