"""Sixteen processes race for all VFs of a host: each is given once, and none is left over."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from databases import DATABASES
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from placement_service import service, store

from smartvif.choose.placement.claims import PlacementClaims
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import select
from smartvif.model import traits
from smartvif.model.errors import Conflict
from smartvif.model.pci import PciAddress

CLIENTS, ROUNDS = 16, 3
HOST = "host"
PFS = (PciAddress.parse("0000:03:00.0"), PciAddress.parse("0000:03:00.1"))
VFS = 64  # of each PF
PATIENCE = 300  # seconds, for all that a client does in a round


class Counting(Adapter):
    """Counts how often Placement said that another was quicker."""

    conflicts = 0

    def request(self, url: str, method: str, **options: Any) -> Any:
        answer = super().request(url, method, **options)
        self.conflicts += answer.status_code == 409
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a client got in a round; the longest that a claim took is in seconds."""

    owners: tuple[str, ...]
    conflicts: int
    longest: float


def engine(adapter: Adapter) -> PlacementClaims:
    """The engine, with time for a crowd."""
    return PlacementClaims(adapter, project="p", user="u", timeout=PATIENCE)


def adapter(url: str) -> Counting:
    """A way to Placement."""
    return Counting(Session(auth=Token(url, "admin")), service_type="placement")


def client(url: str, start: Barrier, results: Connection) -> None:
    """In each round claim one VF after another, until there is none."""
    way = adapter(url)
    mine = engine(way)
    for _ in range(ROUNDS):
        start.wait(PATIENCE)
        before, owners, longest = way.conflicts, list[str](), 0.0
        while (took := claim(mine, owners)) is not None:
            longest = max(longest, took)
        conflicts = way.conflicts - before
        results.send(Result(owners=tuple(owners), conflicts=conflicts, longest=longest))


def claim(mine: PlacementClaims, owners: list[str]) -> float | None:
    """Choose and claim until it succeeds: how long that took; None where nothing is left."""
    request = DeviceRequest(
        id=str(uuid.uuid4()), device=DeviceType.VF, required=frozenset({traits.SWITCHDEV})
    )
    began = time.monotonic()
    while True:
        selection = select(mine.pools([request], HOST), [request])
        if selection.problem is not None:
            return None
        try:
            mine.claim(selection.choices)
        except Conflict:
            continue
        owners.append(request.id)
        return time.monotonic() - began


@contextmanager
def clients(url: str, start: Barrier) -> Iterator[list[Connection]]:
    """The processes, each by the end of a pipe that its results come out of."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pipes = [context.Pipe(duplex=False) for _ in range(CLIENTS)]
    processes = [
        context.Process(target=client, args=(url, start, sender), daemon=True)
        for _, sender in pipes
    ]
    for process in processes:
        process.start()
    try:
        yield [receiver for receiver, _ in pipes]
        for process in processes:
            process.join(PATIENCE)
    finally:
        for process in processes:
            process.kill()
            process.join()


def receive(results: Connection) -> Result:
    """The next result."""
    assert results.poll(PATIENCE), "a client gave no result"
    found = results.recv()
    assert isinstance(found, Result)
    return found


@pytest.mark.parametrize("kind", DATABASES)
def test_race(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In every round the clients together get each VF once, whoever loses to whom on the way."""
    start = multiprocessing.get_context("forkserver").Barrier(CLIENTS + 1)
    has = frozenset({traits.SWITCHDEV, traits.TUNNELLED})
    pools = [
        Pool(host=HOST, pf=pf, device=DeviceType.VF, total=VFS, free=VFS, traits=has) for pf in PFS
    ]
    with store(kind) as where, service(where) as running:
        judge = engine(adapter(running.url))
        judge.publish(HOST, frozenset(), pools)
        with clients(running.url, start) as waiting:
            for number in range(1, ROUNDS + 1):
                start.wait(PATIENCE)
                began = time.monotonic()
                found = [receive(each) for each in waiting]
                took = time.monotonic() - began
                owners = [owner for result in found for owner in result.owners]
                claims = judge.claims(HOST)
                with capsys.disabled():
                    print(
                        f"\n{kind}, round {number}: {len(owners)} claims in {took:.1f} s,"
                        f" {len(owners) / took:.1f} a second;"
                        f" {sum(result.conflicts for result in found)} lost to others,"
                        f" longest {max(result.longest for result in found):.1f} s",
                        end="",
                    )
                assert len(owners) == VFS * len(PFS)
                assert sorted(owners) == [each.owner for each in claims]
                assert {pf: sum(each.pf == pf for each in claims) for pf in PFS} == {
                    pf: VFS for pf in PFS
                }
                for owner in owners:
                    judge.release(owner)
