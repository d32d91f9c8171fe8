"""Publish a host's pools in Placement. Idempotent; what is not ours is not touched.

Nova knows a host by the same provider, whose CUSTOM_ traits and whose children it leaves alone
(nova/compute/provider_tree.py). It cannot make that provider where there is one by the name, so
where Nova is to run, nova-compute goes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from smartvif.choose.placement import providers as placement_provider
from smartvif.choose.placement.client import CONCURRENT, IN_USE, Call, refuse
from smartvif.choose.placement.providers import CLASSES, Provider
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceType
from smartvif.model import traits
from smartvif.model.errors import Conflict, Refused

_CUSTOM = "CUSTOM_"
_SWITCHES = traits.datapath("")


def publish(
    call: Call, host: str, host_traits: frozenset[str], pools: Sequence[Pool]
) -> tuple[str, ...]:
    """Publish the host's pools and no others; returns notes on what could not be removed.

    Raises: Refused, where a provider of that name is not ours; Conflict; Invalid; CannotTell;
    Failed.
    """
    wanted = placement_provider.names(host, pools)
    inventories = placement_provider.inventories(wanted)
    _define(call, host_traits, wanted.values())
    tree = call.tree(host) or _made_root(call, host)
    root = tree[0]
    there = {provider.name: provider for provider in tree[1:]}
    notes: list[str] = []
    for name, pool in wanted.items():
        provider = there.get(name) or _made(call, name, root)
        if provider.uuid != placement_provider.identity(name):
            raise _foreign(name)
        # Traits first: without them a new provider would match requests that forbid them.
        _set_traits(call, provider, placement_provider.pool_traits(pool))
        notes += _set_inventories(call, provider, inventories[name])
    for provider in tree[1:]:
        if provider.name not in wanted and placement_provider.place(provider, host) is not None:
            notes += _remove(call, provider)
    _set_traits(call, root, host_traits)
    return tuple(notes)


def _define(call: Call, host_traits: frozenset[str], pools: Iterable[Pool]) -> None:
    """Create the custom traits and resource classes that Placement lacks."""
    named = host_traits.union(*(placement_provider.pool_traits(pool) for pool in pools))
    custom = {name for name in named if name.startswith(_CUSTOM)}
    for name in sorted(custom - call.known_traits(custom)):
        call.request("PUT", f"/traits/{name}")
    if any(pool.device is DeviceType.VDPA for pool in pools):
        call.request("PUT", f"/resource_classes/{CLASSES[DeviceType.VDPA]}")


def _made_root(call: Call, host: str) -> tuple[Provider, ...]:
    body = {"name": host, "uuid": placement_provider.identity(host)}
    answer = call.request("POST", "/resource_providers", body, accept=[HTTPStatus.CONFLICT])
    # Nova or another smartvif may have created it meanwhile.
    tree = call.tree(host)
    if not tree:
        raise Conflict(answer.words, where=host, hint="try again")
    return tree


def _made(call: Call, name: str, root: Provider) -> Provider:
    uuid = placement_provider.identity(name)
    body = {"name": name, "uuid": uuid, "parent_provider_uuid": root.uuid}
    answer = call.request("POST", "/resource_providers", body, accept=[HTTPStatus.CONFLICT])
    if answer.ok:
        return placement_provider.read(answer.body)
    found = call.providers(name=name)
    if not found or found[0].uuid != uuid or found[0].parent != root.uuid:
        raise _foreign(name)
    return found[0]


def _foreign(name: str) -> Refused:
    return Refused(
        f"there is a resource provider '{name}' that is not ours",
        where="Placement",
        hint="where Nova reports the PF to Placement itself, leave its VFs to Nova, or set"
        " [pci] report_in_placement = false before nova-compute first does",
    )


def _set_traits(call: Call, provider: Provider, wanted: frozenset[str]) -> None:
    """Set a provider's traits. Of a host all others stay, except ours that name its hardware."""
    path = f"/resource_providers/{provider.uuid}/traits"
    for _ in call.tries():
        there, generation = call.get(path, "traits", "resource_provider_generation")
        kept = there if provider.parent is None else ()
        new = wanted.union(name for name in kept if not _is_hardware(name))
        if new == frozenset(there):
            return
        body = {"resource_provider_generation": generation, "traits": sorted(new)}
        answer = call.request("PUT", path, body, accept=[HTTPStatus.CONFLICT])
        if answer.ok:
            return
        if answer.code != CONCURRENT:
            refuse(answer)
    raise _busy(provider)


def _is_hardware(name: str) -> bool:
    """Whether a trait of a host is ours to remove."""
    return name.startswith(_SWITCHES) or name == traits.SMARTNIC


def _set_inventories(
    call: Call, provider: Provider, wanted: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Set the inventories; returns notes on those allocated beyond, which are reserved in full."""
    path = f"/resource_providers/{provider.uuid}/inventories"
    new, notes = dict(wanted), list[str]()
    for _ in call.tries():
        there, generation = call.get(path, "inventories", "resource_provider_generation")
        if new != there:
            body = {"resource_provider_generation": generation, "inventories": new}
            answer = call.request("PUT", path, body, accept=[HTTPStatus.CONFLICT])
            if answer.code == IN_USE:
                gone = {name: entry for name, entry in there.items() if name not in new}
                new |= {name: _drained(entry) for name, entry in gone.items()}
                continue
            if answer.code == CONCURRENT:
                continue
            if not answer.ok:
                refuse(answer)
        usages = call.get(f"/resource_providers/{provider.uuid}/usages", "usages")
        for name, used in sorted(usages.items()):
            most = wanted[name]["total"] if name in wanted else 0
            if used > most:
                notes.append(f"{provider.name} has {most} {name}, and {used} are allocated")
        return notes
    raise _busy(provider)


def _remove(call: Call, provider: Provider) -> list[str]:
    """Delete a provider, or reserve all of it where something is still claimed."""
    path = f"/resource_providers/{provider.uuid}"
    accept = [HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND]
    answer = call.request("DELETE", path, accept=accept)
    if answer.status != HTTPStatus.CONFLICT:
        return []
    there = call.get(f"{path}/inventories", "inventories")
    _set_inventories(call, provider, {name: _drained(entry) for name, entry in there.items()})
    return [f"{provider.name} is gone, and ports still have allocations of it"]


def _drained(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An inventory of which all is reserved."""
    return {**entry, "reserved": entry["total"]}


def _busy(provider: Provider) -> Conflict:
    return Conflict(
        "concurrent changes do not end",
        where=f"resource provider {provider.name}",
        hint="try again",
    )
