"""Which device each port of a machine gets, and why not another. Pure.

All ports of a machine are solved together: a device that only one of them can use is not given to
another, as it would be if each port took the first that fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from smartvif.choose.selection.policy import Policy
from smartvif.choose.selection.pool import ANYWHERE, Choice, Guest, Pool, mismatch
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model.pci import PciAddress

_WHOLE = 1 << 16  # more than the 65535 VFs that PCI SIG SR-IOV lets a PF have


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """``choices`` are in the order of the requests, of those that need a device.

    ``problem`` says why there are none. ``reasons`` has for each such request the reason why each
    pool does not match, None where it does. ``policy`` and ``guest`` are the inputs.
    """

    choices: tuple[Choice, ...]
    problem: str | None
    requests: tuple[DeviceRequest, ...]
    pools: tuple[Pool, ...]
    reasons: tuple[tuple[str | None, ...], ...]
    policy: Policy
    guest: Guest


def select(
    pools: Sequence[Pool],
    requests: Sequence[DeviceRequest],
    *,
    policy: Policy = Policy.SPREAD,
    guest: Guest = ANYWHERE,
) -> Selection:
    """Choose a pool of one host for every request, or for none.

    Preferred are pools without a drawback, near the guest, and by the ``policy``; then the PF with
    the lowest address, and of its devices those with the fewest capabilities.
    """
    wanted = tuple(request for request in requests if request.device is not None)
    reasons = tuple(tuple(_reason(pool, request, guest) for pool in pools) for request in wanted)
    search = _Search(pools, wanted, reasons, policy, guest)
    found = search.run()
    choices = (
        ()
        if found is None
        else tuple(
            Choice(request=request, pool=pools[index])
            for request, index in zip(wanted, found, strict=True)
        )
    )
    return Selection(
        choices=choices,
        problem=_problem(wanted, reasons) if found is None else None,
        requests=wanted,
        pools=tuple(pools),
        reasons=reasons,
        policy=policy,
        guest=guest,
    )


class Rank(NamedTuple):
    """The sort key of a pool; the smallest is the best."""

    has_drawback: bool
    is_far: bool
    share: float
    pf: PciAddress
    traits: int
    functions: tuple[PciAddress, ...]


def rank(pool: Pool, used: int, policy: Policy, guest: Guest) -> Rank:
    """The rank of a pool of which ``used`` devices more than it says are in use."""
    share = 1 - (pool.free - used) / pool.total
    return Rank(
        pool.drawback is not None,
        not guest.is_near(pool.numa_node),
        share if policy is Policy.SPREAD else -share,
        pool.pf,
        len(pool.traits),
        pool.functions[:1],
    )


def _reason(pool: Pool, request: DeviceRequest, guest: Guest) -> str | None:
    reason = mismatch(pool, request, guest)
    if reason is not None or request.vf is None:
        return reason or (None if pool.free > 0 else "none of it is free")
    if request.vf in pool.functions:
        return None
    return pool.unavailable.get(request.vf, f"{request.vf} is not one of it")


def _problem(requests: Sequence[DeviceRequest], reasons: Sequence[Sequence[str | None]]) -> str:
    for request, pools in zip(requests, reasons, strict=True):
        if None not in pools:
            return f"there is no {request.device} for port {request.id}"
    return f"there are devices for each of {len(requests)} ports, but not for all together"


class _Search:
    """Depth first, over the pools in the order of their rank; the narrowest request goes first.

    The search is complete: it finds a solution if there is one. States that have failed are
    remembered and not tried again.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        requests: Sequence[DeviceRequest],
        reasons: Sequence[Sequence[str | None]],
        policy: Policy,
        guest: Guest,
    ) -> None:
        self._pools = pools
        self._requests = requests
        self._policy = policy
        self._guest = guest
        self._fitting = [
            [index for index, reason in enumerate(each) if reason is None] for each in reasons
        ]
        self._order = sorted(
            range(len(requests)),
            key=lambda n: (len(self._fitting[n]), -requests[n].min_rate),
        )
        numbers = {pool.pf: number for number, pool in enumerate(pools)}
        self._pf = [numbers[pool.pf] for pool in pools]  # of each pool
        self._used = [0] * len(pools)
        self._guaranteed = [0] * len(pools)  # of each PF
        self._parts = [0] * len(pools)  # of each PF, how many devices are allocated
        self._failed: set[Hashable] = set()
        self._found = [0] * len(requests)

    def run(self) -> list[int] | None:
        """The index of a pool for each request."""
        named = [request.vf for request in self._requests if request.vf is not None]
        return self._found if len(named) == len(set(named)) and self._place(0) else None

    def _place(self, depth: int) -> bool:
        if depth == len(self._order):
            return True
        if self._failed and self._state(depth) in self._failed:
            return False
        number = self._order[depth]
        rate = self._requests[number].min_rate
        for index in sorted(self._fitting[number], key=self._rank):
            if self._has_room(index, rate):
                self._found[number] = index
                self._take(index, rate, 1)
                if self._place(depth + 1):
                    return True
                self._take(index, rate, -1)
        self._failed.add(self._state(depth))
        return False

    def _state(self, depth: int) -> Hashable:
        """What is left of the PFs, as a key; PFs that are alike are interchangeable."""
        left: dict[int, list[Hashable]] = {}
        for index, pf in enumerate(self._pf):
            pool, users = self._pools[index], tuple(index in each for each in self._fitting)
            rate = (pool.rate or 0) - self._guaranteed[pf]
            left.setdefault(pf, [self._parts[pf]]).append(
                (users, pool.free - self._used[index], rate)
            )
        return depth, frozenset(Counter(map(tuple, left.values())).items())

    def _rank(self, index: int) -> Rank:
        return rank(self._pools[index], self._used[index], self._policy, self._guest)

    def _has_room(self, index: int, rate: int) -> bool:
        """Whether the PF has room: it goes whole or in parts, its speed is guaranteed once."""
        pool, pf = self._pools[index], self._pf[index]
        if pool.free <= self._used[index] or self._parts[pf] >= _WHOLE:
            return False
        if pool.device is DeviceType.PF and self._parts[pf]:
            return False
        return not rate or self._guaranteed[pf] + rate <= (pool.rate or 0)

    def _take(self, index: int, rate: int, count: int) -> None:
        pf = self._pf[index]
        self._used[index] += count
        self._guaranteed[pf] += rate * count
        whole = self._pools[index].device is DeviceType.PF
        self._parts[pf] += count * (_WHOLE if whole else 1)
