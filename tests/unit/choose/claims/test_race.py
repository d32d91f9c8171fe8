"""The store of claims under many hands, and under processes that die at any instruction."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import pytest

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import ClaimState
from smartvif.choose.claims.ticket_lock import TicketLock
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model.errors import Conflict, SmartvifError
from smartvif.model.pci import PciAddress

# A fork takes a hundredth of what a new interpreter takes. No store is open while it happens.
PROCESSES = multiprocessing.get_context("fork")
HOST = "compute-1"
PFS = tuple(PciAddress(0, 3, 0, number) for number in range(2))
RACERS, ROUNDS = 16, 50
KILLS = 200


def card(vfs: int) -> tuple[Pool, ...]:
    """Two PFs, each with so many VFs."""
    found = []
    for number, pf in enumerate(PFS):
        functions = tuple(PciAddress(0, 4 + number, each // 8, each % 8) for each in range(vfs))
        found += [_pool(pf, DeviceType.PF, (pf,)), _pool(pf, DeviceType.VF, functions)]
    return tuple(found)


def _pool(pf: PciAddress, device: DeviceType, functions: tuple[PciAddress, ...]) -> Pool:
    total = len(functions)
    return Pool(host=HOST, pf=pf, device=device, total=total, free=total, functions=functions)


def choices(owners: list[str], pf: PciAddress) -> list[Choice]:
    """Any VF of the PF for each of the ports."""
    pool = _pool(pf, DeviceType.VF, ())
    return [
        Choice(request=DeviceRequest(id=owner, device=pool.device), pool=pool) for owner in owners
    ]


def watch(tell: Callable[[str], None]) -> None:
    """Have all connections of this process tell of each statement before it is executed."""
    connect = sqlite3.connect

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*arguments, **options)
        db.set_trace_callback(tell)
        return db

    sqlite3.connect = connected  # type: ignore[assignment]


# ---- turns


def test_a_turn_is_one_at_a_time_and_in_order(tmp_path: Path) -> None:
    """Threads have their turns in the order of the numbers that they drew, and no two at once."""
    turns, numbers, inside = TicketLock(tmp_path / "turns"), list[int](), list[int]()

    def take() -> None:
        for _ in range(50):
            with turns.acquire() as number:
                inside.append(number)
                numbers.append(number)
                assert inside == [number]
                inside.remove(number)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers == list(range(1, 401))


def _hold(path: Path, ready: Connection) -> None:
    with TicketLock(path).acquire() as number:
        ready.send(number)
        signal.pause()


def _drawn(path: Path, number: int) -> None:
    """Wait until so many numbers have been drawn."""
    deadline = time.monotonic() + 10
    while not path.exists() or int.from_bytes(path.read_bytes(), "big") < number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_dead_are_not_waited_for(tmp_path: Path) -> None:
    """Neither the one whose turn it is, nor one that waits."""
    path = tmp_path / "turns"
    ours, theirs = PROCESSES.Pipe()
    processes = [
        PROCESSES.Process(target=_hold, args=(path, theirs), daemon=True) for _ in range(4)
    ]
    for number, process in enumerate(processes, 1):
        process.start()
        _drawn(path, number)
    assert ours.recv() == 1
    assert not ours.poll()
    for dead, then in ((0, 2), (2, 4)):
        processes[dead].kill()
        processes[dead].join()
        assert ours.recv() == then
        assert not ours.poll()
    for process in processes:
        process.kill()
        process.join()
    with TicketLock(path).acquire() as number:
        assert number == 5


def test_a_child_does_not_hold_its_parents_turn(tmp_path: Path) -> None:
    """A process forked within a turn keeps the file open, but not the turn."""
    turns = TicketLock(tmp_path / "turns")
    with turns.acquire():
        child = PROCESSES.Process(target=signal.pause, daemon=True)
        child.start()
    had = threading.Event()

    def take() -> None:
        with turns.acquire():
            had.set()

    thread = threading.Thread(target=take)
    thread.start()
    in_time = had.wait(10)
    child.kill()
    child.join()
    thread.join()
    assert in_time


# ---- the race


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One claim: the number ``drawn``, how many transactions were ``before`` its own.

    ``passed`` of those came after it had been asked for; ``wait`` is in seconds.
    """

    drawn: int
    before: int
    passed: int
    wait: float


@dataclass(kw_only=True)
class Lap:
    """What one process got in one round."""

    owners: dict[str, PciAddress | None] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Clock:
    """Numbers the transactions of all processes, each while it is under way."""

    def __init__(self, count: Synchronized[int]) -> None:
        self._count = count
        self._begun = False
        self.queued = True
        self.asked = self.drawn = self.before = 0

    def tell(self, statement: str) -> None:
        """The statement after BEGIN is executed only when the file is this process's alone."""
        if self._begun:
            self.before = self._count.value
            self._count.value += 1
        self._begun = statement.startswith("BEGIN")

    @contextmanager
    def acquire(self, turns: TicketLock) -> Iterator[int]:
        """Around ``TicketLock.acquire``; without ``queued`` as if all earlier writers were dead."""
        self.asked = self._count.value
        with _ACQUIRE(turns) if self.queued else nullcontext(0) as self.drawn:
            yield self.drawn


_ACQUIRE = TicketLock.acquire


def _race(path: Path, me: int, start: Barrier, clock: Clock, out: Queue[Lap]) -> None:
    watch(clock.tell)

    def acquire(turns: TicketLock) -> AbstractContextManager[int]:
        return clock.acquire(turns)

    TicketLock.acquire = acquire  # type: ignore[method-assign, assignment]
    claims = SqliteClaims(path)
    for number in range(ROUNDS):
        start.wait(60)
        # Whose a VF is must not depend on the queue.
        clock.queued = number % 5 != 4
        pfs = PFS[:: (1, -1)[me % 2]]
        out.put(_lap(claims, f"{number}-{me}", (1, 2, 4)[number % 3], pfs, clock))


def _lap(
    claims: SqliteClaims, name: str, size: int, pfs: Sequence[PciAddress], clock: Clock
) -> Lap:
    """Claim so many VFs at a time until there are none on any PF."""
    lap = Lap()
    for pf in pfs:
        while True:
            owners = [f"{name}-{len(lap.turns)}-{n}" for n in range(size)]
            asked = time.monotonic()
            try:
                found = claims.claim(choices(owners, pf))
            except Conflict:
                break
            except SmartvifError as error:
                lap.problems.append(str(error))
                return lap
            wait = time.monotonic() - asked
            passed = clock.before - clock.asked
            lap.turns.append(Turn(drawn=clock.drawn, before=clock.before, passed=passed, wait=wait))
            lap.owners |= {claim.owner: claim.address for claim in found}
    return lap


def test_sixteen_processes_race_for_128_vfs(tmp_path: Path) -> None:
    """Each VF goes to one port, all of them go, and nobody is overtaken in the queue."""
    path = tmp_path / "claims.db"
    claims = SqliteClaims(path)
    claims.publish(HOST, card(64))
    claims.close()
    start, out = PROCESSES.Barrier(RACERS + 1), PROCESSES.Queue()
    clock = Clock(PROCESSES.Value("q", 0))
    racers = [
        PROCESSES.Process(target=_race, args=(path, me, start, clock, out), daemon=True)
        for me in range(RACERS)
    ]
    for racer in racers:
        racer.start()
    claims = SqliteClaims(path)
    turns: list[Turn] = []
    for _ in range(ROUNDS):
        start.wait(60)
        laps = [out.get(timeout=60) for _ in racers]
        assert [problem for lap in laps for problem in lap.problems] == []
        got = {owner: address for lap in laps for owner, address in lap.owners.items()}
        assert got == {claim.owner: claim.address for claim in claims.claims()}
        assert len(got) == len(set(got.values())) == 128
        served = sorted((t for lap in laps for t in lap.turns), key=lambda turn: turn.before)
        assert len({turn.before for turn in served}) == len(served)
        drawn = [turn.drawn for turn in served]
        if any(drawn):
            assert drawn == sorted(drawn), "somebody was overtaken who had drawn a number"
            turns += served
        for owner in got:
            claims.release(owner)
    claims.close()
    assert turns
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    print(
        f"{len(turns)} claims in the queue: the worst wait was"
        f" {max(turn.wait for turn in turns) * 1000:.1f} ms, and at most"
        f" {max(turn.passed for turn in turns)} others were served meanwhile"
    )


# ---- death


def chance(seed: int) -> random.Random:
    """Numbers that are the same each time."""
    return random.Random(seed)  # noqa: S311


def churn(claims: SqliteClaims, name: str, seed: int, *, publishes: bool) -> Iterator[None]:
    """Claim for one to four ports at a time, allocate each, release each; without an end."""
    numbers = chance(seed)
    while True:
        if publishes and numbers.random() < 0.3:
            claims.publish(HOST, card(numbers.choice((4, 16))))
        group = numbers.randrange(4)
        with suppress(Conflict):
            claims.claim(choices(members(name, group), numbers.choice(PFS)))
            for act in (claims.allocate, claims.release):
                for owner in members(name, group):
                    act(owner)
        yield


def members(name: str, group: int) -> list[str]:
    """The ports of a group; its number says how many they are."""
    return [f"{name}-{group}-{number}" for number in range(group + 1)]


def _victim(path: Path, seed: int, last: int, ready: Connection) -> None:
    """Dies before its statement of number ``last``; of 0 it lives until it is killed."""
    statements = itertools.count(1)

    def tell(_: str) -> None:
        if next(statements) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(tell)
    ready.send(None)
    for _ in churn(SqliteClaims(path), "victim", seed, publishes=True):
        pass


def _bystander(path: Path, stop: Event, out: Queue[int | str]) -> None:
    claims = SqliteClaims(path)
    laps = 0
    try:
        for _ in churn(claims, "bystander", 0, publishes=False):
            laps += 1
            if stop.is_set():
                break
    except SmartvifError as error:
        out.put(str(error))
    else:
        out.put(laps)


def die(path: Path, number: int, moments: random.Random) -> None:
    """Start a victim and kill it: at a statement, or at any instruction."""
    ours, theirs = PROCESSES.Pipe()
    last = moments.randrange(1, 150) if number % 2 else 0
    victim = PROCESSES.Process(target=_victim, args=(path, number, last, theirs), daemon=True)
    victim.start()
    ours.recv()
    if not last:
        time.sleep(moments.random() * 0.02)  # the moment is to be any
        victim.kill()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL


def check_left(path: Path) -> int:
    """What the dead left must be whole, and what it had can be had again; how much it was."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()
    claims = SqliteClaims(path)
    found = claims.claims()
    assert len({claim.address for claim in found}) == len(found)
    states = {each.owner: each.state for each in found if each.owner.startswith("victim")}
    claims.publish(HOST, card(16))
    for group in range(4):
        owners = members("victim", group)
        left = [states[owner] for owner in owners if owner in states]
        # Ports are released one by one, but only when all of them have been allocated.
        if ClaimState.CLAIMED in left:
            assert len(left) == len(owners)
        if set(left) == {ClaimState.CLAIMED}:
            again = claims.claim(choices(owners, PFS[0]))
            held = {claim.owner: claim for claim in claims.claims()}
            assert [held[owner] for owner in owners] == list(again)
        for owner in owners:
            claims.release(owner)
    pools = claims.pools((), HOST)
    assert [pool.total for pool in pools] == [1, 16, 1, 16]
    assert all("port bystander" in reason for pool in pools for reason in pool.unavailable.values())
    claims.close()
    return len(states)


@pytest.mark.parametrize("company", [False, True], ids=["alone", "in company"])
def test_death_at_any_moment(tmp_path: Path, company: bool) -> None:
    """Whenever a process is killed, claims are whole, and others go on as if it had ended."""
    path, stop, out = tmp_path / "claims.db", PROCESSES.Event(), PROCESSES.Queue()
    moments = chance(1)
    bystander = PROCESSES.Process(target=_bystander, args=(path, stop, out), daemon=True)
    if company:
        bystander.start()
    left = []
    for number in range(KILLS // 2):
        die(path, number, moments)
        left.append(check_left(path))
    assert sum(map(bool, left)) > KILLS // 10, "hardly anything was under way"
    if company:
        stop.set()
        laps = out.get(timeout=60)
        bystander.join()
        assert isinstance(laps, int), laps
        assert laps > KILLS
