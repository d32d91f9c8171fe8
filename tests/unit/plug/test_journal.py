"""The journal: a model of it and several that share one file, locks, and what can be wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from smartvif.model.errors import Ambiguous, CannotTell, NotFound, Refused
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import PortFacts
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.steps.links import HybridBridge, Tap
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough
from smartvif.plug.steps.step import Snapshot, Step
from tests.support.checkout import CHECKOUT
from tests.support.facts import port_facts, vf_identity
from tests.support.values import facts

PORTS = st.sampled_from(["0d9a", "0d9b", "0dff", "1000", "%", "_"])
VFS = st.sampled_from([None, vf_identity("0000:04:00.0"), vf_identity("0000:04:00.1")])
FACTS = facts(VFS)
FOUND = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans()))
NUMBERS = st.integers(0, 3)
MTUS = st.integers(68, 65535)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(Tap, name=st.text(), mac=st.text(), multi_queue=st.booleans()),
    st.builds(HybridBridge, bridge=st.text(), inner=st.text(), outer=st.text(), mtu=MTUS),
    st.builds(SimulatedPassthrough, netdev=st.text(), tap=st.text(), mtu=MTUS),
)
# Three that share the file, as three processes would.
JOURNALS = st.integers(0, 2)


class JournalMachine(RuleBasedStateMachine):
    """Journals on one file against dictionaries: what one writes each of them reads."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.journals = [Journal(self.directory) for _ in range(3)]
        self.records: dict[str, tuple[PortStatus, PortFacts]] = {}
        self.steps: dict[str, dict[int, tuple[Step, Snapshot, bool]]] = {}
        self.held: dict[str, tuple[int, contextlib.ExitStack]] = {}

    def teardown(self) -> None:
        for _, lock in self.held.values():
            lock.close()
        assert list((self.directory / "locks").iterdir()) == []
        for journal in self.journals:
            journal.close()
        shutil.rmtree(self.directory)

    @rule(by=JOURNALS, port=PORTS, begun=FACTS)
    def begin(self, by: int, port: str, begun: PortFacts) -> None:
        """A VF goes to one port; a port that is known is plugged again and keeps its steps."""
        vf = begun.vf
        holder = next((p for p, (_, has) in self.records.items() if vf and has.vf == vf), port)
        if vf is not None and holder != port:
            with pytest.raises(Refused, match=f"{vf.address} is in use by port {holder}"):
                self.journals[by].begin(port, begun)
            return
        self.journals[by].begin(port, begun)
        self.records[port] = PortStatus.PLUGGING, begun
        self.steps.setdefault(port, {})

    @rule(by=JOURNALS, port=PORTS, status=st.sampled_from(PortStatus))
    def set_status(self, by: int, port: str, status: PortStatus) -> None:
        """A port that is not known stays so."""
        self.journals[by].set_status(port, status)
        if port in self.records:
            self.records[port] = status, self.records[port][1]

    @precondition(lambda self: self.records)
    @rule(by=JOURNALS, data=st.data(), number=NUMBERS, step=STEPS, found=FOUND)
    def doing(self, by: int, data: st.DataObject, number: int, step: Step, found: Snapshot) -> None:
        """A step that is begun is not done, also where it had been."""
        port = data.draw(st.sampled_from(sorted(self.records)))
        self.journals[by].doing(port, number, step, found)
        self.steps[port][number] = step, found, False

    @rule(by=JOURNALS, port=PORTS, number=NUMBERS)
    def done(self, by: int, port: str, number: int) -> None:
        """Only a step that was begun can be done."""
        self.journals[by].done(port, number)
        if number in self.steps.get(port, {}):
            self.steps[port][number] = *self.steps[port][number][:2], True

    @rule(by=JOURNALS, port=PORTS, number=NUMBERS)
    def undone(self, by: int, port: str, number: int) -> None:
        """A step that was undone is gone."""
        self.journals[by].undone(port, number)
        self.steps.get(port, {}).pop(number, None)

    @rule(by=JOURNALS, port=PORTS)
    def forget(self, by: int, port: str) -> None:
        """A port without steps is gone, and its VF free."""
        if not self.steps.get(port):
            self.journals[by].forget(port)
            self.records.pop(port, None)

    @rule(by=JOURNALS, port=PORTS)
    def lock(self, by: int, port: str) -> None:
        """A lock is given to one journal at a time, which in a thread may take it again."""
        lock = contextlib.ExitStack()
        held = lock.enter_context(self.journals[by].locked(port, wait=False))
        holder = self.held[port][0] if port in self.held else by
        assert held == (holder == by)
        if port in self.held:
            lock.close()
        else:
            self.held[port] = by, lock

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def unlock(self, data: st.DataObject) -> None:
        """A lock that is released can be taken again."""
        self.held.pop(data.draw(st.sampled_from(sorted(self.held))))[1].close()

    @rule(by=JOURNALS)
    def reopen(self, by: int) -> None:
        """A journal that is closed and opened again has lost nothing."""
        self.journals[by].close()
        self.journals[by] = Journal(self.directory)
        # It is not the one that has taken the locks.
        self.held = {port: (-1 if who == by else who, it) for port, (who, it) in self.held.items()}

    @rule(by=JOURNALS, name=PORTS | st.text(max_size=3) | st.sampled_from(["0", "0d", "0d9", "1"]))
    def find(self, by: int, name: str) -> None:
        """A port is found by what only its identifier begins with."""
        alike = [port for port in self.records if port.startswith(name)] if name else []
        if len(alike) == 1:
            assert self.journals[by].find(name) == alike[0]
            return
        with pytest.raises(Ambiguous if alike else NotFound) as caught:
            self.journals[by].find(name)
        assert all(port in caught.value.hint for port in alike or self.records)

    @invariant()
    def every_journal_tells_the_same(self) -> None:
        """Records are in the order in which they were begun, steps in that of their numbers."""
        for journal in self.journals:
            known = journal.ports()
            assert [port.id for port in known] == list(self.records)
            for port in known:
                assert (port.status, port.facts) == self.records[port.id]
                assert port.vf == (None if port.facts.vf is None else port.facts.vf.address)
                assert journal.port(port.id) == port
                entries = journal.entries(port.id)
                assert {e.number: (e.step, e.found, e.done) for e in entries} == self.steps[port.id]
                assert [entry.number for entry in entries] == sorted(self.steps[port.id])

    @invariant()
    def a_vf_has_one_port(self) -> None:
        """No VF is with two ports."""
        vfs = [port.vf for port in self.journals[0].ports() if port.vf is not None]
        assert len(vfs) == len(set(vfs))


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A fresh one in tmp_path."""
    with contextlib.closing(Journal(tmp_path)) as made:
        yield made


def locks(directory: Path) -> list[str]:
    return os.listdir(directory / "locks")


def at_once(number: int, work: Callable[[int], None]) -> None:
    """Call ``work`` in as many threads, and let none of their errors be lost."""
    failures: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def process(program: str, directory: Path) -> subprocess.Popen[str]:
    """A Python process with ``directory`` as its argument."""
    return subprocess.Popen(
        [sys.executable, "-c", program, str(directory)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_threads_hold_a_lock_one_at_a_time(journal: Journal, tmp_path: Path) -> None:
    """Of eight threads, with journals of their own or a shared one, one at a time is inside."""
    inside: list[int] = []

    def work(index: int) -> None:
        with contextlib.ExitStack() as opened:
            own = Journal(tmp_path)
            opened.callback(own.close)
            for _ in range(20):
                with (own if index % 2 else journal).locked("port"):
                    inside.append(index)
                    time.sleep(0.0005)
                    assert inside == [index]
                    inside.clear()

    at_once(8, work)
    assert locks(tmp_path) == []


_COUNT = """
import sys
from pathlib import Path
from smartvif.plug.journal import Journal
directory = Path(sys.argv[1])
journal = Journal(directory)
sys.stdin.read()
for _ in range(100):
    with journal.locked("port"):
        count = directory / "count"
        count.write_text(str(int(count.read_text()) + 1))
"""


def test_processes_hold_a_lock_one_at_a_time(tmp_path: Path) -> None:
    """Four processes count together, and none overwrites the other's count."""
    (tmp_path / "count").write_text("0")
    children = [process(_COUNT, tmp_path) for _ in range(4)]
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0] * 4
    assert (tmp_path / "count").read_text() == "400"
    assert locks(tmp_path) == []


_HOLD = """
import sys, time
from pathlib import Path
from smartvif.plug.journal import Journal
from tests.support.facts import port_facts
journal = Journal(Path(sys.argv[1]))
journal.begin("port", port_facts("0000:04:00.0"))
with journal.locked("port"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_of_a_killed_process_is_free(journal: Journal, tmp_path: Path) -> None:
    """SIGKILL frees the lock, the one that waits for it goes on, and what was written is there."""
    child = process(_HOLD, tmp_path)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with journal.locked("port", wait=False) as held:
        assert not held
    threading.Timer(0.1, child.kill).start()
    began = time.monotonic()
    with journal.locked("port") as held:
        assert held
        assert 0.05 < time.monotonic() - began < 10.0
    child.communicate()
    assert journal.ports()[0].vf == PciAddress.parse("0000:04:00.0")
    assert locks(tmp_path) == []


def test_a_lock_is_given_back_after_an_error(journal: Journal, tmp_path: Path) -> None:
    """What a block raises frees its lock and takes the file away."""
    with pytest.raises(KeyboardInterrupt), journal.locked("port"):
        raise KeyboardInterrupt
    with journal.locked("port", wait=False) as held:
        assert held
        assert locks(tmp_path) == ["port"]
    assert locks(tmp_path) == []


_OPEN = """
import os, sys
from pathlib import Path
from smartvif.plug.journal import Journal
from tests.support.facts import port_facts
print("ready", flush=True)
sys.stdin.read()
Journal(Path(sys.argv[1])).begin(str(os.getpid()), port_facts())
"""


def test_a_journal_that_many_make_at_once(tmp_path: Path) -> None:
    """The first use of a journal may be by several processes at the same time."""
    for attempt in range(4):
        directory = tmp_path / str(attempt)
        children = [process(_OPEN, directory) for _ in range(6)]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
        for child in children:
            assert child.stdout is not None
            child.stdout.close()
        assert [child.wait() for child in children] == [0] * 6
        with contextlib.closing(Journal(directory)) as journal:
            assert {port.id for port in journal.ports()} == {str(child.pid) for child in children}


def test_threads_share_a_journal(journal: Journal) -> None:
    """Eight threads write and read one journal, and each finds what it wrote."""

    def work(index: int) -> None:
        port = f"port-{index}"
        for number in range(20):
            journal.begin(port, port_facts(f"0000:04:00.{index}", mtu=number))
            journal.doing(port, number, Tap(name=port, mac=str(number)), {})
            journal.done(port, number)
            record = journal.port(port)
            assert record is not None
            assert record.facts.mtu == number
        assert [entry.number for entry in journal.entries(port)] == list(range(20))

    at_once(8, work)
    assert len(journal.ports()) == 8


def test_threads_that_want_one_vf(journal: Journal) -> None:
    """Of eight threads that claim a VF at the same time one gets it."""
    refused: list[int] = []

    def work(index: int) -> None:
        try:
            journal.begin(f"port-{index}", port_facts("0000:04:00.0"))
        except Refused:
            refused.append(index)

    at_once(8, work)
    assert len(refused) == 7
    assert len(journal.ports()) == 1


def test_moves(journal: Journal, tmp_path: Path) -> None:
    """A machine's move is there for every process, as last written, until it ends."""
    journal.begin_move("vm2", '{"to": "host3"}')
    journal.begin_move("vm1", '{"to": "host2"}')
    journal.begin_move("vm1", '{"to": "host2", "interfaces": {"p": "<interface/>"}}')
    with contextlib.closing(Journal(tmp_path)) as other:
        assert other.moves() == {
            "vm1": '{"to": "host2", "interfaces": {"p": "<interface/>"}}',
            "vm2": '{"to": "host3"}',
        }
        other.end_move("vm1")
        other.end_move("vm1")
    assert journal.moves() == {"vm2": '{"to": "host3"}'}


def test_a_whole_identifier_is_never_ambiguous(journal: Journal) -> None:
    """A port is found by its identifier also where another's begins with it."""
    journal.begin("port-1", port_facts())
    journal.begin("port-10", port_facts())
    assert journal.find("port-1") == "port-1"


@pytest.mark.parametrize("make", ["a file", "no file system", "a directory", "other bytes"])
def test_a_journal_that_cannot_be_used(tmp_path: Path, make: str) -> None:
    """It is said which file, why, and which variable names another directory."""
    directory = tmp_path / "state"
    if make == "a file":
        directory.touch()
    elif make == "no file system":
        directory = Path("/proc/smartvif")
    elif make == "a directory":
        (directory / "state.db").mkdir(parents=True)
    else:
        directory.mkdir()
        (directory / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(CannotTell, match="cannot use the journal") as caught:
        Journal(directory)
    assert caught.value.where == str(directory / "state.db")
    assert "SMARTVIF_STATE_DIR" in caught.value.hint
