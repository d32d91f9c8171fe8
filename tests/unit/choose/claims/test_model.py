"""The store of claims beside a model of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceType
from smartvif.model.errors import Conflict, NotFound, Refused, SmartvifError
from smartvif.model.pci import PciAddress
from tests.support.claim_store import HELD, P0, P1, PF, VDPA, VF, anything, choice, pool

# ---- the model

HOSTS = ("a", "b")
SLOTS: tuple[tuple[DeviceType, PciAddress, PciAddress, str | None], ...] = (
    (PF, P0, P0, None),
    *((VF, P0, PciAddress(0, 4, 0, number), ("blue", "red")[number // 2]) for number in range(4)),
    (VDPA, P0, PciAddress(0, 4, 1, 0), None),
    (PF, P1, P1, None),
    *((VF, P1, PciAddress(0, 4, 2, number), "blue") for number in range(2)),
)
OWNERS = ("o1", "o2", "o3", "o4", "o5", "o6")
STATUS = st.sampled_from(["free", "free", "free", "free", "held", "absent"])


# A pool: PF, device, physical network, and a trait that comes and goes.
Key = tuple[PciAddress, DeviceType, str | None, bool]
Place = tuple[str, PciAddress]


@dataclass(kw_only=True)
class Known:
    """A function as the store should have it."""

    key: Key
    unavailable: str | None
    published: bool = True
    owner: str | None = None
    state: str = "available"
    rate: int = 0


def of_key(host: str, key: Key, functions: Sequence[PciAddress], rate: int | None = None) -> Pool:
    """A pool with the key's properties."""
    pf, device, network, trait = key
    return replace(
        pool(*functions, pf=pf, device=device, rate=rate, host=host),
        physical_network=network,
        traits=frozenset({"CUSTOM_T"} if trait else ()),
    )


KEYS = sorted(
    {(pf, device, network, trait) for device, pf, _, network in SLOTS for trait in (False, True)},
    key=str,
)


@st.composite
def choices(draw: st.DrawFn) -> list[Choice]:
    """Of up to four ports: of pools that there are or not, with functions listed, named, or any."""
    host = draw(st.sampled_from(HOSTS))
    trait = draw(st.sampled_from([False, False, False, True]))
    found = []
    for owner in draw(st.lists(st.sampled_from(OWNERS), min_size=1, max_size=4, unique=True)):
        key = draw(st.sampled_from([key for key in KEYS if key[3] is trait]))
        mine = [
            address for device, pf, address, network in SLOTS if (pf, device, network) == key[:3]
        ]
        listed = draw(st.lists(st.sampled_from(mine), unique=True)) if draw(st.booleans()) else []
        vf = draw(st.sampled_from(mine)) if draw(st.integers(0, 4)) == 0 else None
        rate = draw(st.sampled_from([0, 0, 400, 1000]))
        found.append(choice(owner, of_key(host, key, listed), vf=vf, rate=rate))
    return found


class ClaimsMachine(RuleBasedStateMachine):
    """Two stores on one file, as two processes have them, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.stores = [SqliteClaims(self.directory / "claims.db") for _ in range(2)]
        self.known: dict[Place, Known] = {}
        self.speeds: dict[tuple[str, Key], int | None] = {}
        for host in HOSTS:
            self.publish(0, host, ["free"] * len(SLOTS), [1000, None], False)

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.directory)

    @rule(
        by=st.integers(0, 1),
        host=st.sampled_from(HOSTS),
        status=st.lists(STATUS, min_size=len(SLOTS), max_size=len(SLOTS)),
        speeds=st.lists(st.sampled_from([None, 500, 1000, 3000]), min_size=2, max_size=2),
        trait=st.sampled_from([False, False, False, True]),
    )
    def publish(
        self, by: int, host: str, status: list[str], speeds: list[int | None], trait: bool
    ) -> None:
        """More functions, or fewer, or held, or of another kind."""
        pools: dict[Key, Pool] = {}
        there: dict[Place, tuple[Key, str | None]] = {}
        for (device, pf, address, network), how in zip(SLOTS, status, strict=True):
            if how == "absent":
                continue
            key = (pf, device, network, trait)
            speed = self.speeds[host, key] = speeds[pf == P1]
            held = HELD if how == "held" else None
            there[host, address] = key, held
            before = pools.get(key) or of_key(host, key, (), speed)
            pools[key] = (
                replace(before, functions=(*before.functions, address))
                if held is None
                else replace(before, unavailable={**before.unavailable, address: held})
            )
        self.stores[by].publish(host, tuple(pools.values()))
        for place in [place for place in self.known if place[0] == host and place not in there]:
            self.known[place].published = False
            self.forget(place)
        for place, (key, held) in there.items():
            known = self.known.setdefault(place, Known(key=key, unavailable=held))
            known.key, known.unavailable, known.published = key, held, True

    def forget(self, place: Place) -> None:
        """Forget it if it is not there and nobody's."""
        if self.known[place].owner is None and not self.known[place].published:
            del self.known[place]

    def free(self, owner: str) -> None:
        """Take from the model what an owner has."""
        for place, known in list(self.known.items()):
            if known.owner == owner:
                known.owner, known.state, known.rate = None, "available", 0
                self.forget(place)

    def siblings(self, place: Place) -> list[Known]:
        """Those that exclude it while they are taken: its PF, or its PF's parts."""
        pf, device, *_ = self.known[place].key
        return [
            known
            for (host, _), known in self.known.items()
            if host == place[0] and known.key[0] == pf and (known.key[1] is PF) != (device is PF)
        ]

    def can_be_had(self, place: Place) -> bool:
        """Whether anybody could claim it."""
        known = self.known[place]
        if known.owner is not None or known.unavailable is not None:
            return False
        if known.key[1] is PF:
            return all(
                each.owner is None and each.unavailable is None for each in self.siblings(place)
            )
        return all(each.owner is None for each in self.siblings(place))

    def promised(self, host: str, pf: PciAddress) -> int:
        """The rates of all that a PF has given."""
        return sum(
            known.rate
            for (where, _), known in self.known.items()
            if where == host and known.key[0] == pf
        )

    def expect(self, wanted: list[Choice]) -> dict[str, PciAddress] | type[SmartvifError]:
        """What a claim should give, written to the model; or the error, which changes nothing."""
        before = {place: replace(known) for place, known in self.known.items()}
        found: dict[str, PciAddress] = {}
        for each in wanted:
            mine = [known for known in self.known.values() if known.owner == each.request.id]
            if any(known.state == "allocated" for known in mine):
                self.known = before
                return Refused
            self.free(each.request.id)
        for each in sorted(wanted, key=lambda each: each.request.vf is None):
            address = self.first(each)
            if address is None:
                self.known = before
                return Conflict
            known = self.known[each.pool.host, address]
            known.owner, known.state = each.request.id, "claimed"
            known.rate = each.request.min_rate
            found[each.request.id] = address
        return found

    def first(self, wanted: Choice) -> PciAddress | None:
        """The address that one choice should get."""
        host, request = wanted.pool.host, wanted.request
        trait = "CUSTOM_T" in wanted.pool.traits
        key = (wanted.pool.pf, wanted.pool.device, wanted.pool.physical_network, trait)
        mine = sorted(
            address
            for (where, address), known in self.known.items()
            if where == host and known.key == key and self.can_be_had((where, address))
        )
        listed = [request.vf] if request.vf else list(wanted.pool.functions) or mine
        address = next((each for each in listed if each in mine), None)
        speed = self.speeds.get((host, key))
        if request.min_rate and speed is not None:
            left = speed - self.promised(host, wanted.pool.pf)
            return address if request.min_rate <= left else None
        return address

    @rule(by=st.integers(0, 1), wanted=choices())
    def claim(self, by: int, wanted: list[Choice]) -> None:
        """The ports get exactly what they should, or all of them nothing."""
        expected = self.expect(wanted)
        if isinstance(expected, type):
            with pytest.raises(expected):
                self.stores[by].claim(wanted)
            return
        claims = self.stores[by].claim(wanted)
        assert [claim.owner for claim in claims] == [each.request.id for each in wanted]
        assert {claim.owner: claim.address for claim in claims} == expected

    @rule(by=st.integers(0, 1), owner=st.sampled_from(OWNERS))
    def allocate(self, by: int, owner: str) -> None:
        """Only by a name that has one."""
        mine = [known for known in self.known.values() if known.owner == owner]
        if not mine:
            with pytest.raises(NotFound):
                self.stores[by].allocate(owner)
            return
        self.stores[by].allocate(owner)
        mine[0].state = "allocated"

    @rule(by=st.integers(0, 1), owner=st.sampled_from(OWNERS))
    def release(self, by: int, owner: str) -> None:
        """Also of nothing."""
        self.stores[by].release(owner)
        self.free(owner)

    @rule(
        by=st.integers(0, 1),
        owner=st.sampled_from(OWNERS),
        host=st.sampled_from(HOSTS),
        slot=st.sampled_from(SLOTS),
    )
    def adopt(
        self,
        by: int,
        owner: str,
        host: str,
        slot: tuple[DeviceType, PciAddress, PciAddress, str | None],
    ) -> None:
        """What is another's, or excluded by another's, stays so."""
        place = host, slot[2]
        mine = [where for where, known in self.known.items() if known.owner == owner]
        expected: type[SmartvifError] | None = None
        if mine not in ([], [place]):
            expected = Refused
        elif place not in self.known:
            expected = NotFound
        elif not mine:
            held, self.known[place].unavailable = self.known[place].unavailable, None
            expected = None if self.can_be_had(place) else Refused
            self.known[place].unavailable = held
        if expected is not None:
            with pytest.raises(expected):
                self.stores[by].adopt(owner, *place)
            return
        self.stores[by].adopt(owner, *place)
        self.known[place].owner, self.known[place].state = owner, "allocated"

    @rule(by=st.integers(0, 1))
    def reopen(self, by: int) -> None:
        """Nothing is only in memory."""
        self.stores[by].close()
        self.stores[by] = SqliteClaims(self.directory / "claims.db")

    @invariant()
    def claims_are_the_models(self) -> None:
        """Every claim is as it should be, and a PF is never given both ways."""
        claims = self.stores[0].claims()
        assert {
            (claim.host, claim.address): (claim.owner, str(claim.state), claim.rate, claim.pf)
            for claim in claims
        } == {
            place: (known.owner, known.state, known.rate, known.key[0])
            for place, known in self.known.items()
            if known.owner is not None
        }
        whole = {(claim.host, claim.pf) for claim in claims if claim.device is PF}
        parts = {(claim.host, claim.pf) for claim in claims if claim.device is not PF}
        assert whole.isdisjoint(parts)
        assert len({claim.owner for claim in claims}) == len(claims)

    @invariant()
    def pools_are_the_models(self) -> None:
        """What can be had is what the model has, counted or one by one."""
        pools = [each for host in HOSTS for each in self.stores[1].pools((), host)]
        assert [anything(each) for each in pools] == list(self.stores[1].pools(()))
        functions = {(each.host, address) for each in pools for address in each.functions}
        assert functions == {place for place in self.known if self.can_be_had(place)}
        held = {(each.host, address) for each in pools for address in each.unavailable}
        assert functions | held == self.known.keys()
        for each in pools:
            assert (each.free, each.total) == (
                len(each.functions),
                len(each.functions) + len(each.unavailable),
            )
            key = (each.pf, each.device, each.physical_network, bool(each.traits))
            speed = self.speeds[each.host, key]
            left = None if speed is None else max(0, speed - self.promised(each.host, each.pf))
            assert each.rate == left


TestClaimsMachine = ClaimsMachine.TestCase
TestClaimsMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
