"""Processes that claim and release, and are killed: after reconcile no VF is lost or shared."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import ClaimState
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.context.host import HostContext
from smartvif.host import sriov
from smartvif.model.errors import NotFound
from smartvif.operations.ports.claims import claim, claim_synced_with_journal, unplug
from smartvif.operations.reconcile import reconcile
from smartvif.plug.each_port import Report
from smartvif.plug.executor import PortPlan, plug
from smartvif.plug.journal import Journal
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import host
from tests.support.facts import port_facts

KILLS = 200
LONGEST = 0.12  # seconds; a claim and its release take some hundredths
# What is between two of them is where a death leaves something.
WRITES = (
    (SqliteClaims, "claim"),
    (SqliteClaims, "allocate"),
    (SqliteClaims, "release"),
    (Journal, "begin"),
    (Journal, "set_status"),
    (Journal, "forget"),
)


def slowed(rng: random.Random) -> None:
    """Have this process pause after each write, so that it is seldom killed elsewhere."""

    def pausing(real: Callable[..., Any]) -> Callable[..., Any]:
        def paused(*args: Any, **kwargs: Any) -> Any:
            found = real(*args, **kwargs)
            time.sleep(rng.uniform(0, 0.01))
            return found

        return paused

    for kind, method in WRITES:
        setattr(kind, method, pausing(getattr(kind, method)))


def work(of: HostContext, seed: int) -> None:
    """Claim and release for ever, as attach and detach do, with up to four ports at a time."""
    rng = random.Random(seed)  # noqa: S311
    slowed(rng)
    mine: list[str] = []
    for number in count():
        if mine and (len(mine) > 3 or rng.random() < 0.4):
            unplug(mine.pop(rng.randrange(len(mine))), of)
            continue
        port = str(uuid.UUID(int=seed << 32 | number))
        with contextlib.suppress(NotFound), claim_synced_with_journal(port, of):
            address = claim(DeviceRequest(id=port, device=DeviceType.VF), of)
            facts = port_facts(str(address), vm="")
            plug(PortPlan(port=port, plan=(), facts=facts), of.journal, of.drivers)
            mine.append(port)


@on_simulated_host("2x4", guests=1)
def test_killed_at_random_moments() -> None:
    """Two hundred kills; each time what is claimed is what ports have, each VF once."""
    rng = random.Random(20261121)  # noqa: S311
    vfs = {vf.address for pf in sriov.pfs() for vf in pf.vfs}
    found = Counter[str]()
    for number in range(KILLS):
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                here = host()
                os.write(writable, b".")
                work(here, number)
            os._exit(1)
        os.close(writable)
        os.read(readable, 1)  # it has begun
        os.close(readable)
        time.sleep(rng.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])

        here = host()
        told = reconcile(here)
        found.update(words.split(" VF ")[0] for words in told.done.values())
        claims = here.claims.claims()
        ports = {port.id: port.vf for port in here.journal.ports()}
        assert {each.owner: each.address for each in claims} == ports
        assert len(set(ports.values())) == len(ports)
        assert {each.address for each in claims} <= vfs
        assert {each.state for each in claims} <= {ClaimState.ALLOCATED}
        assert reconcile(here) == Report()
        if len(claims) > len(vfs) - 4:  # so that there is always something to claim
            for each in claims:
                unplug(each.owner, here)
            assert here.claims.claims() == ()
    print(found)
    # Both kinds of unfinished work have been met, or nothing was tested.
    assert found["release"] > 0
    assert found["undo: it was plugging"] + found["undo: it was unplugging"] > 0
