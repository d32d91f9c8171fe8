"""Plugging, unplugging and recovering beside a model, with failures and deaths anywhere."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smartvif.model.errors import Failed, Refused
from smartvif.operations.repair import repair_ports
from smartvif.plug.executor import plug, unplug
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.steps.step import Plan, Step
from tests.support.facts import port_facts
from tests.support.toys import DiedError, MortalJournal, Toys, names, plan, planned, world

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
        if self.is_plugged(port):
            self.replug(port, letters, vf, broken)
            return
        asked, old = plan(port, letters), self.taken(port)
        with self.where(broken=broken):
            try:
                port_plan = planned(port, letters, port_facts(vf))
                plug(port_plan, self.journal, world(self.toys))
                self.wanted[port] = asked
                failed = refused = False
            except (Failed, Refused) as error:
                failed, refused = True, isinstance(error, Refused)
            stuck = self.refused("undo")
            begun = [n for n in self.toys.heard("find") if f"find {n}" not in broken]
        assert self.is_plugged(port) == (not failed)
        if not failed:
            assert set(names(asked)) <= self.toys.there
            assert self.taken(port) == asked
        elif refused and not old:
            # What a dead process has claimed stays claimed until recover frees it.
            assert (self.taken(port), self.toys.log) == ((), [])
        elif not stuck:
            assert self.is_gone(port)
        undone = self.toys.heard("undo")
        expected = names(old)[::-1] + (begun[::-1] if failed else [])
        if stuck and not begun:
            # Undoing the old plan stops at the first step that cannot be undone.
            expected = expected[: len(undone)]
            assert undone[-1] in stuck
        assert undone == expected

    def replug(self, port: str, letters: str, vf: str | None, broken: set[str]) -> None:
        """A plugged port gets its new plan or keeps the old one; what is in both is not undone."""
        asked, old = plan(port, letters), self.taken(port)
        with self.where(broken=broken):
            try:
                plug(planned(port, letters, port_facts(vf)), self.journal, world(self.toys))
                self.wanted[port] = asked
                failed = refused = False
            except (Failed, Refused) as error:
                failed, refused = True, isinstance(error, Refused)
        assert self.is_plugged(port)
        undone = self.toys.heard("undo")
        gone = [name for name in names(old)[::-1] if name not in names(asked)]
        if failed:
            assert self.taken(port)[: len(old)] == old
            assert not set(undone) & set(names(old)) & set(names(asked))
        else:
            assert self.taken(port) == asked
            assert set(names(asked)) <= self.toys.there
            assert undone == gone
        if refused:
            assert (undone, self.toys.heard("do")) == ([], [])

    @rule(port=PORTS, letters=PLANS, vf=VFS, life=LIVES)
    def die_plugging(self, port: str, letters: str, vf: str | None, life: int) -> None:
        """Whenever the process dies, the invariants hold; a plugged port has one of the plans."""
        asked, old, was_plugged = plan(port, letters), self.taken(port), self.is_plugged(port)
        with self.where(life=life), contextlib.suppress(DiedError, Refused):
            plug(planned(port, letters, port_facts(vf)), self.journal, world(self.toys))
            self.wanted[port] = asked
        if was_plugged:
            assert self.is_plugged(port)
            assert self.taken(port) in {old, asked}
            self.wanted[port] = self.taken(port)

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
        foreseen = repair_ports(self.journal, world(self.toys), dry_run=True).done
        assert before == (self.journal.ports(), self.toys.there)
        assert repair_ports(self.journal, world(self.toys)).done == foreseen
        for port in ("p1", "p2"):
            assert self.is_gone(port) or self.is_plugged(port)
            assert set(names(self.taken(port))) <= self.toys.there
            assert all(entry.done for entry in self.journal.entries(port))
        assert repair_ports(self.journal, world(self.toys)).done == {}

    @rule(life=LIVES)
    def die_recovering(self, life: int) -> None:
        """Whenever the process dies, the invariants hold."""
        with self.where(life=life), contextlib.suppress(DiedError):
            repair_ports(self.journal, world(self.toys))

    @rule(port=PORTS)
    def recover_while_one_is_held(self, port: str) -> None:
        """The port that another is at work on is as before."""
        before = self.journal.port(port), self.journal.entries(port)
        there = {name for name in self.toys.there if name.startswith(port)}
        with contextlib.closing(Journal(self.directory)) as other, other.locked(port):
            assert port not in repair_ports(self.journal, world(self.toys)).done
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
        """Of a plugged port every step is known; after a failure there may be more."""
        for port in filter(self.is_plugged, ("p1", "p2")):
            assert self.taken(port)[: len(self.wanted[port])] == self.wanted[port]


TestApplyMachine = ApplyMachine.TestCase
TestApplyMachine.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
