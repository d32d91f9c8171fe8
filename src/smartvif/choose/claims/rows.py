"""Pools as rows of the store of claims: written from pools, read back as pools. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from smartvif.choose.claims.pf import PfFunctions
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceType
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

# One pool of a publication: PF, device, facts, speed, and each address with its holder.
Published = tuple[str, str, str, int | None, list[tuple[str, str | None]]]

# Of every pool: host, PF, device, facts, speed; the number of functions: all, free, owned, owned or
# unavailable; and the bandwidth guaranteed to them.
COUNTS = """
SELECT pools.host, pf, device, facts, speed,
    count(*), sum(state = 'available' AND held IS NULL),
    sum(state <> 'available'), sum(state <> 'available' OR held IS NOT NULL), sum(rate)
FROM pools JOIN functions ON functions.pool = pools.id
GROUP BY pools.id ORDER BY pools.host, pf, device, facts
"""


def facts(pool: Pool) -> str:
    """The properties by which pools of one PF differ, as JSON."""
    return json.dumps(
        {
            "netdev": pool.netdev,
            "numa_node": pool.numa_node,
            "traits": sorted(pool.traits),
            "unknown": sorted(pool.unknown),
            "physical_network": pool.physical_network,
            "drawback": pool.drawback,
        }
    )


def published(host: str, pools: Sequence[Pool]) -> list[Published]:
    """The rows of a publication, in an order that does not depend on that of the pools.

    Raises: Invalid, where a pool is another host's or a function is listed twice.
    """
    found: list[Published] = []
    for pool in pools:
        if pool.host != host:
            raise Invalid(f"it is published with a pool of {pool.host}", where=f"host {host}")
        functions = [(str(address), None) for address in pool.functions]
        unavailable = [(str(address), reason) for address, reason in pool.unavailable.items()]
        listed = sorted([*functions, *unavailable], key=itemgetter(0))
        found.append((str(pool.pf), pool.device, facts(pool), pool.rate, listed))
    times = Counter(address for *_, listed in found for address, _ in listed)
    twice = next((address for address, count in times.items() if count > 1), None)
    if twice is not None:
        raise Invalid(f"{twice} is published twice", where=f"host {host}")
    return sorted(found, key=itemgetter(0, 1, 2))


def of_pf(host: str, pf: str, functions: PfFunctions) -> Iterator[Pool]:
    """The pools of one PF with each function's address."""
    for (device, text), members in groupby(
        functions.functions, key=lambda each: (each.device, each.facts)
    ):
        pool = tuple(members)
        obstacles = {PciAddress.parse(each.address): functions.blocker(each) for each in pool}
        free = tuple(address for address, reason in obstacles.items() if reason is None)
        yield Pool(
            host=host,
            pf=_address(pf),
            device=device,
            total=len(pool),
            free=len(free),
            functions=free,
            unavailable={
                address: reason for address, reason in obstacles.items() if reason is not None
            },
            rate=functions.bandwidth_left(pool),
            **_properties(text),
        )


def counted(rows: Iterable[tuple[Any, ...]]) -> Iterator[Pool]:
    """The pools that ``COUNTS`` has found, without the addresses of their functions."""
    for (host, pf), members in groupby(rows, key=itemgetter(0, 1)):
        pools = tuple(members)
        whole = any(taken for _, _, device, *_, taken, _, _ in pools if device == DeviceType.PF)
        part = any(busy for _, _, device, *_, busy, _ in pools if device != DeviceType.PF)
        guaranteed = sum(rate for *_, rate in pools)
        for _, _, device, text, speed, total, free, *_ in pools:
            excluded = part if device == DeviceType.PF else whole
            yield Pool(
                host=host,
                pf=_address(pf),
                device=DeviceType(device),
                total=total,
                free=0 if excluded else free,
                rate=None if speed is None else max(0, speed - guaranteed),
                **_properties(text),
            )


# The same few on every host of a kind.
@lru_cache(maxsize=1024)
def _properties(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {**found, "traits": frozenset(found["traits"]), "unknown": frozenset(found["unknown"])}


_address = lru_cache(maxsize=1024)(PciAddress.parse)
