"""Plugging, unplugging and recovering in a world of names."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartvif.control import names
from smartvif.model.errors import Failed, NotFound, Refused, StepFailed
from smartvif.model.pci import PciAddress
from smartvif.operations.repair import repair_ports
from smartvif.plug.executor import adopt, plug, plug_many, unplug
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.steps.step import Step
from tests.support.facts import port_facts
from tests.support.toys import Toy, Toys, plan, planned, world

FACTS = port_facts()
VFS = {"p": "0000:04:00.0", "q": "0000:04:00.1", "r": "0000:04:00.2"}


def test_a_failed_plug_is_undone_last_to_first(journal: Journal, toys: Toys) -> None:
    """The steps that were taken, and the one that failed half-way, are undone in reverse."""
    toys.broken = {"did p.c"}
    with pytest.raises(StepFailed) as caught:
        plug(planned("p", "abcd"), journal, world(toys))
    assert toys.heard("undo") == ["p.c", "p.b", "p.a"]
    assert (toys.there, journal.ports()) == (set(), ())
    error = caught.value
    assert (error.step, error.hint) == ("make p.c", "mend it")
    assert (error.what, error.where) == ("cannot make p.c: did p.c fails", "toys")


def test_each_step_is_heard_of_when_it_is_taken(journal: Journal, toys: Toys) -> None:
    """Progress names every step in order, and on a second plug none."""
    heard: list[Step] = []
    for _ in range(2):
        plug(planned("p", "abc"), journal, world(toys), on_step=heard.append)
        assert tuple(heard) == plan("p", "abc")
    assert toys.heard("do") == ["p.a", "p.b", "p.c"]


def test_plugging_returns_what_the_journal_has(journal: Journal, toys: Toys) -> None:
    """A new port's record, and that of one that was plugged already with its new facts."""
    for mtu in (1500, 9000):
        record = plug(planned("p", "ab", port_facts(mtu=mtu)), journal, world(toys))
        assert record == journal.port("p")
        assert (record.status, record.facts.mtu) == (PortStatus.PLUGGED, mtu)


def test_an_interrupted_plug_is_undone(journal: Journal, toys: Toys) -> None:
    """Control-C is passed on as it is, after everything has been undone."""

    def interrupt(_: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plug(planned("p", "ab"), journal, world(toys), on_step=interrupt)
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_failed_mending_keeps_the_port(journal: Journal, toys: Toys) -> None:
    """A port that was plugged stays so, with its other steps, where a lost one cannot be redone."""
    plug(planned("p", "abc"), journal, world(toys))
    toys.there.remove("p.b")
    toys.broken = {"do p.b"}
    with pytest.raises(StepFailed, match=r"do p\.b fails"):
        plug(planned("p", "abc"), journal, world(toys))
    assert toys.there == {"p.a", "p.c"}
    assert journal.ports()[0].status is PortStatus.PLUGGED
    toys.broken.clear()
    plug(planned("p", "abc"), journal, world(toys))
    assert toys.there == {"p.a", "p.b", "p.c"}


def test_unplugging_three_times(journal: Journal, toys: Toys) -> None:
    """A port can be unplugged as often as one likes, and one that never was as well."""
    plug(planned("p", "ab"), journal, world(toys))
    for port in ("p", "p", "p", "never"):
        unplug(port, journal, world(toys))
        assert (toys.there, journal.ports()) == (set(), ())
    assert toys.heard("undo") == ["p.b", "p.a"]


@pytest.mark.parametrize("letters", ["", "ab"])
def test_a_step_that_somebody_else_took(journal: Journal, toys: Toys, letters: str) -> None:
    """It is not taken, adopted once however often it is, mended with the others, undone first."""
    plug(planned("p", letters), journal, world(toys))
    toys.there.add("p.z")
    toys.log.clear()
    for _ in range(2):
        adopt("p", Toy(name="p.z"), journal)
    assert toys.log == []
    assert [entry.step for entry in journal.entries("p")] == list(plan("p", f"{letters}z"))
    assert all(entry.done for entry in journal.entries("p"))
    assert repair_ports(journal, world(toys)).done == {}
    toys.there.discard("p.z")
    assert repair_ports(journal, world(toys)).done == {"p": "do again: make p.z"}
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
        plug(planned(port, "a"), journal, world(toys))
    journal.set_status("q", PortStatus.UNPLUGGING)
    toys.there = {"q.a"}
    mended = {"r": "do again: make r.a"}
    assert repair_ports(journal, world(toys), leave={"p", "q"}, dry_run=True).done == mended
    assert repair_ports(journal, world(toys), leave={"p", "q"}).done == mended
    assert toys.there == {"q.a", "r.a"}


def test_what_bears_the_name_of_an_unknown_port(journal: Journal, toys: Toys) -> None:
    """A link that is named after a port which the journal does not know is left, with a warning."""
    toys.there = {names.tap("p")}
    with unittest.TestCase().assertLogs("smartvif.plug.orphans", "WARNING") as said:
        unplug("p", journal, world(toys))
    assert toys.there == {names.tap("p")}
    assert names.tap("p") in said.output[0]


def test_what_cannot_be_undone_waits(journal: Journal, toys: Toys) -> None:
    """A failed undo is known until reconcile can finish it, and the error says what to do."""
    plug(planned("p", "abc"), journal, world(toys))
    toys.broken = {"undo p.b"}
    with pytest.raises(Failed, match=r"cannot undo 'make p\.b'") as caught:
        unplug("p", journal, world(toys))
    assert (caught.value.where, caught.value.hint) == ("toys", "mend it")
    assert [entry.step for entry in journal.entries("p")] == list(plan("p", "ab"))
    toys.broken.clear()
    assert repair_ports(journal, world(toys)).done == {"p": "undo: it was unplugging"}
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_roll_back_goes_past_what_cannot_be_undone(journal: Journal, toys: Toys) -> None:
    """The other steps are undone at once, the one that cannot be stays for reconcile."""
    toys.broken = {"do p.d", "undo p.b"}
    with pytest.raises(StepFailed, match=r"do p\.d fails"):
        plug(planned("p", "abcd"), journal, world(toys))
    assert toys.there == {"p.b"}
    assert [entry.step for entry in journal.entries("p")] == list(plan("p", "b"))
    toys.broken.clear()
    repair_ports(journal, world(toys))
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_vf_in_use(journal: Journal, toys: Toys) -> None:
    """No step is taken for a port whose VF another port has."""
    plug(planned("p", "a", port_facts("0000:04:00.0")), journal, world(toys))
    with pytest.raises(Refused, match="in use by port p"):
        plug(planned("q", "a", port_facts("0000:04:00.0")), journal, world(toys))
    assert toys.there == {"p.a"}
    assert [port.id for port in journal.ports()] == ["p"]


def test_a_plan_after_an_empty_one(journal: Journal, toys: Toys) -> None:
    """The steps of a port that was plugged without any are written like all others."""
    plug(planned("p", ""), journal, world(toys))
    plug(planned("p", "a"), journal, world(toys))
    unplug("p", journal, world(toys))
    assert toys.there == set()


@pytest.mark.parametrize("bad", ["do p.a", "undo p.a", "check p.a"])
def test_one_bad_port_does_not_hold_up_the_others(journal: Journal, toys: Toys, bad: str) -> None:
    """Every port is brought to an end that can be, and the one that cannot is reported."""
    for port in ("p", "q", "r"):
        plug(planned(port, "a"), journal, world(toys))
    toys.there = {"r.a"}
    for port in ("r", "p") if bad == "undo p.a" else ("r",):
        journal.set_status(port, PortStatus.UNPLUGGING)
    toys.broken = {bad}
    report = repair_ports(journal, world(toys))
    assert [(port, f"{bad} fails" in error.what) for port, error in report.failed.items()] == [
        ("p", True)
    ]
    assert toys.there == {"q.a"}
    assert journal.port("r") is None


def test_many_ports_at_once(journal: Journal, toys: Toys) -> None:
    """Each is plugged or not by itself, and the errors say which are not and why."""
    toys.broken = {"do q.b"}
    ports = [planned(port, "ab", port_facts(VFS[port])) for port in "pqr"]
    failed = plug_many(ports, journal, world(toys))
    assert {port: error.what for port, error in failed.items()} == {
        "q": "cannot make q.b: do q.b fails"
    }
    assert toys.there == {"p.a", "p.b", "r.a", "r.b"}
    assert {port.id: port.vf for port in journal.ports()} == {
        port: PciAddress.parse(VFS[port]) for port in "pr"
    }


def test_a_repair_that_does_not_help(journal: Journal, toys: Toys) -> None:
    """A step that still differs after it was taken again is that port's error."""
    for port in "pq":
        plug(planned(port, "ab"), journal, world(toys))
    toys.stubborn = {"p.a"}
    toys.there.remove("q.b")
    report = repair_ports(journal, world(toys))
    assert list(report.failed) == ["p"]
    assert (
        report.failed["p"].what
        == "it was repaired, and still differs: p.a: not there, wanted there"
    )
    assert report.failed["p"].where == "port p"
    assert report.done["q"] == "do again: make q.b"


class RivalledJournal(Journal):
    """A journal beside another, which unplugs a port when its lock is released the first time."""

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
        plug(planned(port, "a"), journal, world(toys))
    toys.there.clear()
    with contextlib.closing(RivalledJournal(tmp_path, journal, toys, "p", "q")) as rivalled:
        repair_ports(rivalled, world(toys))
    assert (toys.there, journal.ports()) == (set(), ())


def test_a_full_disk(journal: Journal, toys: Toys, tmp_path: Path) -> None:
    """Where the journal cannot be written nothing is done, and the error says which file."""
    ((pages,),) = journal._rows("PRAGMA page_count", ())
    journal._rows(f"PRAGMA max_page_count = {pages}", ())
    with pytest.raises(Failed, match="disk is full") as caught:
        plug(planned("p", "a", port_facts(vm="x" * 100_000)), journal, world(toys))
    assert caught.value.where == str(tmp_path / "state.db")
    assert (toys.there, journal.ports()) == (set(), ())
