"""Claims on one host that are booked in Placement as well, so that a scheduler sees what is left.

Placement counts the devices of a PF without telling them apart; this host chooses the device. If
Placement has allocated more than exist, the host refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smartvif.choose.claims.store import Claim, ClaimStore
from smartvif.choose.selection.pool import Choice, Pool, mismatch
from smartvif.choose.selection.request import DeviceRequest

_NONE = "Placement offers none: they are allocated there, or published with other properties"


class MirroredClaims:
    """Two stores: ``local`` has each device of this host, ``upstream`` the numbers of all hosts."""

    def __init__(self, local: ClaimStore, upstream: ClaimStore) -> None:
        self._local = local
        self._upstream = upstream

    def pools(self, requests: Sequence[DeviceRequest], host: str | None = None) -> tuple[Pool, ...]:
        """The local pools; a matching one that Placement does not offer has nothing free."""
        left = {
            (pool.host, pool.pf, pool.device)
            for pool in self._upstream.pools(requests, host)
            if pool.free
        }
        return tuple(
            _given_away(pool)
            if (pool.host, pool.pf, pool.device) not in left and _would_do(pool, requests)
            else pool
            for pool in self._local.pools(requests, host)
        )

    def claim(self, choices: Sequence[Choice]) -> tuple[Claim, ...]:
        """Book upstream, then claim here; rolls back where either fails."""
        try:
            self._upstream.claim(choices)  # a lost reply may hide a booking
            return self._local.claim(choices)
        except BaseException:
            for choice in choices:
                self._upstream.release(choice.request.id)
            raise

    def release(self, owner: str) -> None:
        """Release here first: a booking upstream without a claim here is found later."""
        self._local.release(owner)
        self._upstream.release(owner)

    def claims(self, host: str) -> tuple[Claim, ...]:
        """The local claims, and the bookings of owners without a local claim."""
        found = self._local.claims(host)
        owners = {claim.owner for claim in found}
        booked = (claim for claim in self._upstream.claims(host) if claim.owner not in owners)
        return (*found, *booked)


def _would_do(pool: Pool, requests: Sequence[DeviceRequest]) -> bool:
    """Whether the pool matches by what the host knows; a mismatch here is the better reason."""
    return any(mismatch(pool, request) is None for request in requests)


def _given_away(pool: Pool) -> Pool:
    return replace(
        pool,
        free=0,
        functions=(),
        unavailable={**dict.fromkeys(pool.functions, _NONE), **pool.unavailable},
    )
