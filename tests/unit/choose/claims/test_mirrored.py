"""Claims that are booked in two places: whatever fails, nothing stays in one of them only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from smartvif.choose.claims.mirrored import MirroredClaims
from smartvif.choose.claims.store import Claim, ClaimState
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import select
from smartvif.model.errors import CannotTell, Conflict
from smartvif.model.pci import PciAddress

FIRST, SECOND = PciAddress(0, 3, 0, 0), PciAddress(0, 3, 0, 1)
ASKED = DeviceRequest(id="port", device=DeviceType.VF)


def pool(pf: PciAddress, free: int = 1) -> Pool:
    return Pool(
        host="host",
        pf=pf,
        device=DeviceType.VF,
        total=2,
        free=free,
        functions=(replace(pf, bus=4),) if free else (),
        traits=frozenset({"CUSTOM_NETWORK_TUNNELLED"}),
    )


class Book:
    """An engine that writes down what it is told, and fails where it is told to."""

    def __init__(self, *pools: Pool, refuses: type[Exception] | None = None) -> None:
        self._pools = pools
        self.refuses = refuses
        self.owners: dict[str, Claim] = {}

    def pools(self, requests: Sequence[DeviceRequest], host: str | None = None) -> tuple[Pool, ...]:
        return self._pools

    def claim(self, choices: Sequence[Choice]) -> tuple[Claim, ...]:
        if self.refuses is not None:
            raise self.refuses("it is told to")
        self.owners |= {choice.request.id: claim(choice) for choice in choices}
        return tuple(claim(choice) for choice in choices)

    def claims(self, host: str) -> tuple[Claim, ...]:
        return tuple(self.owners.values())

    def release(self, owner: str) -> None:
        self.owners.pop(owner, None)


def claim(choice: Choice) -> Claim:
    return Claim(
        owner=choice.request.id,
        host="host",
        pf=choice.pool.pf,
        device=DeviceType.VF,
        address=choice.pool.functions[0],
        state=ClaimState.CLAIMED,
    )


def test_both_have_it_and_neither_afterwards() -> None:
    """A claim is in both, the device being the local one's, and is released in both."""
    local, upstream = Book(pool(FIRST)), Book(pool(FIRST))
    both = MirroredClaims(local, upstream)
    choices = select(both.pools([ASKED], "host"), [ASKED]).choices
    (made,) = both.claim(choices)
    assert made.address == pool(FIRST).functions[0]
    assert local.owners.keys() == upstream.owners.keys() == {"port"}
    assert both.claims("host") == local.claims("host")
    both.release("port")
    assert not local.owners
    assert not upstream.owners


@pytest.mark.parametrize("error", [Conflict, KeyboardInterrupt])
def test_more_was_given_away_than_there_is(error: type[Exception]) -> None:
    """Where the host refuses what was booked, the booking is released."""
    local, upstream = Book(pool(FIRST), refuses=error), Book(pool(FIRST))
    with pytest.raises(error):
        MirroredClaims(local, upstream).claim((Choice(request=ASKED, pool=pool(FIRST)),))
    assert not upstream.owners


@pytest.mark.parametrize("booked", [False, True])
def test_the_booking_fails(booked: bool) -> None:
    """Then nothing is claimed here, and what was booked though it failed is released."""
    local, upstream = Book(pool(FIRST)), Book()
    choices = (Choice(request=ASKED, pool=pool(FIRST)),)
    if booked:
        upstream.claim(choices)
    upstream.refuses = CannotTell
    with pytest.raises(CannotTell):
        MirroredClaims(local, upstream).claim(choices)
    assert not local.owners
    assert not upstream.owners


def test_a_pf_that_is_given_away_upstream() -> None:
    """Another PF is chosen; where it was the only one, the reason is told."""
    both = MirroredClaims(Book(pool(FIRST), pool(SECOND)), Book(pool(FIRST, free=0), pool(SECOND)))
    selection = select(both.pools([ASKED], "host"), [ASKED])
    assert selection.choices[0].pool.pf == SECOND
    (left,) = MirroredClaims(Book(pool(FIRST)), Book()).pools([ASKED], "host")
    assert left.free == 0
    assert "Placement offers none" in left.unavailable[pool(FIRST).functions[0]]


def test_the_hosts_own_reason_is_told() -> None:
    """Of a PF that would not do anyway it is told why, whatever Placement has of it."""
    asked = replace(ASKED, required=frozenset({"CUSTOM_UNKNOWN"}))
    local = replace(pool(FIRST), unknown=frozenset({"CUSTOM_UNKNOWN"}))
    both = MirroredClaims(Book(local), Book())
    selection = select(both.pools([asked], "host"), [asked])
    assert selection.pools == (local,)
    assert selection.reasons == (("it is not known whether it has CUSTOM_UNKNOWN",),)
    # For the other of two ports it would do.
    (left,) = both.pools([asked, ASKED], "host")
    assert left.free == 0


def test_bookings_without_a_claim_are_seen() -> None:
    """What a dead process booked upstream only is among the claims, to be released."""
    local, upstream = Book(pool(FIRST)), Book(pool(FIRST))
    upstream.claim((Choice(request=replace(ASKED, id="dead"), pool=pool(FIRST)),))
    assert [each.owner for each in MirroredClaims(local, upstream).claims("host")] == ["dead"]
