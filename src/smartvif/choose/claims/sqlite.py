"""The claim store in an SQLite file: which port owns which function of which host.

A port has at most one function, and a function at most one port. A PF is allocated as a whole, or
its VFs and vdpa devices one by one, and its speed is guaranteed once. A claim changes only under
its owner's name; all statements that change one are here.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from smartvif.choose.claims import rows as claims_pools
from smartvif.choose.claims.file import ClaimsFile
from smartvif.choose.claims.pf import Function, PfFunctions
from smartvif.choose.claims.store import Claim, ClaimState
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model.errors import Conflict, Invalid, NotFound, Refused
from smartvif.model.pci import PciAddress

_FUNCTIONS = """
SELECT pf, device, facts, speed, address, held, owner, rate
FROM pools JOIN functions ON functions.pool = pools.id
WHERE pools.host = ?1 AND pf = ifnull(?2, pf)
ORDER BY pf, device, facts, length(address), address
"""
_OWNED = """
SELECT owner, functions.host, pf, device, address, state, rate
FROM functions INDEXED BY one_for_each_owner JOIN pools ON pools.id = pool
WHERE owner IS NOT NULL AND functions.host = ifnull(?1, functions.host)
ORDER BY functions.host, length(address), address
"""
_POOL = """
INSERT INTO pools (host, pf, device, facts, speed) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (host, pf, device, facts) DO UPDATE SET speed = excluded.speed RETURNING id
"""
_FUNCTION = """
INSERT INTO functions (host, address, pool, held) VALUES (?, ?, ?, ?)
ON CONFLICT (host, address) DO UPDATE
SET pool = excluded.pool, held = excluded.held, published = 1
WHERE pool <> excluded.pool OR held IS NOT excluded.held OR NOT published
"""
_VANISHED = """
DELETE FROM functions
WHERE host = ? AND owner IS NULL AND address NOT IN (SELECT value FROM json_each(?))
"""
_VANISHED_IN_USE = """
UPDATE functions SET published = 0
WHERE host = ? AND address NOT IN (SELECT value FROM json_each(?))
"""
_EMPTY = """
DELETE FROM pools WHERE host = ?1 AND id NOT IN (SELECT pool FROM functions WHERE host = ?1)
"""
_PLACE_OF_OWNER = "SELECT host, address, state FROM functions WHERE owner = ?"
_PF_OF_FUNCTION = """
SELECT pf FROM pools JOIN functions ON functions.pool = pools.id
WHERE functions.host = ? AND address = ?
"""
_ADOPT = """
UPDATE functions SET owner = ?, state = 'allocated', rate = ? WHERE host = ? AND address = ?
"""
_CLAIM = (
    "UPDATE functions SET owner = ?, state = 'claimed', rate = ? WHERE host = ? AND address = ?"
)
_ALLOCATE = "UPDATE functions SET state = 'allocated' WHERE owner = ?"
_FORGET_VANISHED = "DELETE FROM functions WHERE owner = ? AND NOT published"
_RELEASE = "UPDATE functions SET owner = NULL, state = 'available', rate = 0 WHERE owner = ?"
_CHOOSE_AGAIN = "choose again"


class SqliteClaims:
    """A ``ClaimStore`` in the file ``path``, which is created if absent. Thread-safe.

    Raises: CannotTell, here and in each method, where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._file = ClaimsFile(path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def publish(self, host: str, pools: Sequence[Pool]) -> None:
        """Replace what is known of the host by these pools, free and unavailable functions alike.

        A function that is gone is deleted; if a port has it, then when the port releases it.
        Raises: Invalid.
        """
        found = claims_pools.published(host, pools)
        digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
        known = "SELECT 1 FROM hosts WHERE name = ? AND published = ?"
        if self._file.rows(known, (host, digest)):
            return
        addresses = json.dumps([address for *_, listed in found for address, _ in listed])
        with self._file.change() as db:
            for *pool, listed in found:
                ((number,),) = db.execute(_POOL, (host, *pool)).fetchall()
                db.executemany(_FUNCTION, [(host, name, number, why) for name, why in listed])
            db.execute(_VANISHED, (host, addresses))
            db.execute(_VANISHED_IN_USE, (host, addresses))
            db.execute(_EMPTY, (host,))
            db.execute("INSERT OR REPLACE INTO hosts VALUES (?, ?)", (host, digest))

    def pools(self, requests: Sequence[DeviceRequest], host: str | None = None) -> tuple[Pool, ...]:
        """All pools, whatever the requests; without ``host`` of all hosts, as numbers only."""
        if host is None:
            return tuple(claims_pools.counted(self._file.rows(claims_pools.COUNTS)))
        rows = self._file.rows(_FUNCTIONS, (host, None))
        return tuple(
            pool
            for pf, members in groupby(rows, key=itemgetter(0))
            for pool in claims_pools.of_pf(host, pf, _functions(members))
        )

    def claim(self, choices: Sequence[Choice]) -> tuple[Claim, ...]:
        """Claim a function of its pool for each choice's port. Atomic: all or none.

        It is the function that the request names, or the first of the pool's ``functions`` that is
        free, or any where the pool has none listed. An earlier claim of the port that is not yet
        allocated is released, as by a retry.
        Raises: Conflict; Refused, where a port has one allocated; Invalid.
        """
        owners = [choice.request.id for choice in choices]
        if len(set(owners)) < len(owners):
            raise Invalid("a port is to have two devices", where=", ".join(owners))
        with self._file.change() as db:
            for owner in owners:
                _give_up_claimed(db, owner)
            # A function named in a request must not be taken by another choice.
            order = sorted(choices, key=lambda choice: choice.request.vf is None)
            claims = {choice.request.id: _take(db, choice) for choice in order}
        return tuple(claims[owner] for owner in owners)

    def allocate(self, owner: str) -> None:
        """Record that the port's device is in use. Idempotent.

        Raises: NotFound.
        """
        with self._file.change() as db:
            if not db.execute(_ALLOCATE, (owner,)).rowcount:
                raise NotFound("it has claimed no device", where=f"port {owner}")

    def release(self, owner: str) -> None:
        """Release the port's function. Idempotent."""
        with self._file.change() as db:
            _release(db, owner)

    def adopt(self, owner: str, host: str, address: PciAddress, *, rate: int = 0) -> None:
        """Record that the port uses the function, as another record says. Idempotent.

        ``rate`` is its guaranteed bandwidth in kbit/s.

        Raises: NotFound; Refused, where it or its PF is another port's, or the port has another.
        """
        with self._file.change() as db:
            for there in db.execute(_PLACE_OF_OWNER, (owner,)).fetchall():
                if there[:2] != (host, str(address)):
                    raise Refused(f"port {owner} has {there[1]} of {there[0]}", where=str(address))
            rows = db.execute(_PF_OF_FUNCTION, (host, str(address))).fetchall()
            if not rows:
                raise NotFound(f"{host} has no such function", where=str(address))
            functions = _read(db, host, rows[0][0])
            function = next(f for f in functions.functions if f.address == str(address))
            # ``unavailable`` does not block here: the user is this port.
            if function.owner != owner:
                taken = functions.blocker(replace(function, unavailable=None))
                if taken is not None:
                    raise Refused(taken, where=str(address))
            db.execute(_ADOPT, (owner, rate, host, str(address)))

    def claims(self, host: str | None = None) -> tuple[Claim, ...]:
        """The claims on one host or on all, in the order of addresses."""
        return tuple(
            Claim(
                owner=owner,
                host=where,
                pf=PciAddress.parse(pf),
                device=DeviceType(device),
                address=PciAddress.parse(address),
                state=ClaimState(state),
                rate=rate,
            )
            for owner, where, pf, device, address, state, rate in self._file.rows(_OWNED, (host,))
        )


def _give_up_claimed(db: sqlite3.Connection, owner: str) -> None:
    """Raises: Refused, where it is allocated."""
    for host, address, state in db.execute(_PLACE_OF_OWNER, (owner,)).fetchall():
        if state == ClaimState.ALLOCATED:
            raise Refused(
                f"it uses {address} of {host} already", where=f"port {owner}", hint="detach it"
            )
        _release(db, owner)


def _release(db: sqlite3.Connection, owner: str) -> None:
    db.execute(_FORGET_VANISHED, (owner,))
    db.execute(_RELEASE, (owner,))


def _take(db: sqlite3.Connection, choice: Choice) -> Claim:
    """Claim one function of the pool. Raises: Conflict."""
    request, pool = choice.request, choice.pool
    functions = _read(db, pool.host, str(pool.pf))
    members = functions.of_pool(pool.device, claims_pools.facts(pool))
    free = [each.address for each in members if functions.blocker(each) is None]
    wanted = [str(request.vf)] if request.vf else [str(each) for each in pool.functions] or free
    address = next((each for each in wanted if each in free), None)
    where = f"PF {pool.pf} of {pool.host}"
    if address is None:
        what = f"{request.vf} is not" if request.vf else f"no {pool.device} is"
        raise Conflict(f"{what} free any more", where=where, hint=_CHOOSE_AGAIN)
    room = functions.bandwidth_left(members)
    if request.min_rate and room is not None and request.min_rate > room:
        what = f"{room} kbit/s are left, and {request.min_rate} are needed"
        raise Conflict(what, where=where, hint=_CHOOSE_AGAIN)
    db.execute(_CLAIM, (request.id, request.min_rate, pool.host, address))
    return Claim(
        owner=request.id,
        host=pool.host,
        pf=pool.pf,
        device=pool.device,
        address=PciAddress.parse(address),
        state=ClaimState.CLAIMED,
        rate=request.min_rate,
    )


def _read(db: sqlite3.Connection, host: str, pf: str) -> PfFunctions:
    return _functions(db.execute(_FUNCTIONS, (host, pf)).fetchall())


def _functions(rows: Any) -> PfFunctions:
    return PfFunctions(
        Function(
            device=DeviceType(device),
            facts=facts,
            speed=speed,
            address=address,
            unavailable=held,
            owner=owner,
            rate=rate,
        )
        for _, device, facts, speed, address, held, owner, rate in rows
    )
