"""Allocation candidates of Placement, by a query with one request group for each port.

Placement filters by traits, networks, speed and number. It makes every combination of the PFs
that match before it applies the limit, so the limit only bounds the size of the reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from http import HTTPStatus

from smartvif.choose.placement import providers as placement_provider
from smartvif.choose.placement.client import Call
from smartvif.choose.placement.providers import CLASSES, Provider
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model.pci import PciAddress

_MOST = 100  # of a thousand hosts with two PFs about 35 for four ports, and 100 for one


def candidates(
    call: Call, requests: Sequence[DeviceRequest], tree: Sequence[Provider]
) -> dict[str, Pool]:
    """The pools, by their providers, of hosts that have a device for each request.

    ``tree`` has the providers of the one host to ask for; empty for all hosts.
    Raises: CannotTell; Failed.
    """
    query = _query(call, requests, tree[0].uuid if tree else None)
    if query is None:
        return {}
    summaries = call.get("/allocation_candidates", "provider_summaries", query=query)
    if not summaries:
        return {}
    # Candidates have no names.
    places = placement_provider.places(tree or call.providers())
    pools = {
        uuid: placement_provider.pool(places[uuid], summary, requests)
        for uuid, summary in summaries.items()
        if uuid in places
    }
    return {uuid: pool for uuid, pool in pools.items() if pool is not None}


def exclusive(pools: Iterable[Pool]) -> tuple[Pool, ...]:
    """The pools, with whole PFs and parts of them excluding each other."""
    pools = sorted(pools, key=lambda p: (p.host, p.pf, p.device, sorted(p.traits)))
    parts, wholes = Counter[tuple[str, PciAddress]](), Counter[tuple[str, PciAddress]]()
    for pool in pools:
        used = wholes if pool.device is DeviceType.PF else parts
        used[pool.host, pool.pf] += pool.total - pool.free
    found = []
    for pool in pools:
        others = parts if pool.device is DeviceType.PF else wholes
        found.append(replace(pool, free=0) if others[pool.host, pool.pf] else pool)
    return tuple(found)


def _query(
    call: Call, requests: Sequence[DeviceRequest], root: str | None
) -> list[tuple[str, str]] | None:
    """The query, one group for each request; None where there can be no candidates."""
    required = [placement_provider.request_traits(request) for request in requests]
    of_host = frozenset[str]().union(*(request.host_traits for request in requests))
    forbidden = frozenset[str]().union(*(request.forbidden for request in requests))
    # Placement rejects a query with an unknown name.
    known = call.known_traits(of_host.union(forbidden, *required))
    vdpa = CLASSES[DeviceType.VDPA]
    if not of_host.union(*required) <= known or (
        any(request.device is DeviceType.VDPA for request in requests)
        and not call.request("GET", f"/resource_classes/{vdpa}", accept=[HTTPStatus.NOT_FOUND]).ok
    ):
        return None
    query = [("limit", str(_MOST))]
    if len(requests) > 1:
        query.append(("group_policy", "none"))
    if of_host:
        query.append(("root_required", ",".join(sorted(of_host))))
    for number, request in enumerate(requests, start=1):
        group = f"_PORT{number}"
        amounts = placement_provider.resources(request).items()
        names = [*sorted(required[number - 1]), *(f"!{n}" for n in request.forbidden & known)]
        query.append((f"resources{group}", ",".join(f"{each}:{n}" for each, n in amounts)))
        query.append((f"required{group}", ",".join(names)))
        if root is not None:
            query.append((f"in_tree{group}", root))
    return query
