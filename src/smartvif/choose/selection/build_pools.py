"""Pools built from a host's SmartNICs and its allow-list. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from smartvif.choose.allow_list.match import Rules
from smartvif.choose.selection.device_use import (
    DeviceUsers,
    in_words,
    pf_obstacle,
    vf_obstacle,
)
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceType
from smartvif.host.function_driver import is_vfio
from smartvif.host.sriov import Pf, Vf
from smartvif.model import traits
from smartvif.model.known import Absent
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType


@dataclass(frozen=True, slots=True, kw_only=True)
class PfInventory:
    """A PF and what was read of it.

    ``traits`` are those of its VFs, ``unknown`` those that could not be determined. ``rate`` is its
    speed in kbit/s. ``vdpa`` are its VFs that are vDPA devices. ``no_passthrough`` says why a guest
    cannot get a VF by passthrough, of those of which that is so.
    """

    pf: Pf
    traits: frozenset[str]
    unknown: frozenset[str] = frozenset()
    rate: int | None = None
    drawback: str | None = None
    vdpa: frozenset[PciAddress] = frozenset()
    no_passthrough: Mapping[PciAddress, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _PoolKey:
    """The properties by which devices of one PF are interchangeable."""

    device: DeviceType
    numa_node: int | None
    traits: frozenset[str]
    unknown: frozenset[str]
    physical_network: str | None


def build_pools(
    host: str,
    cards: Sequence[PfInventory],
    users: DeviceUsers,
    rules: Rules | None,
    *,
    forwarder: bool,
) -> tuple[Pool, ...]:
    """All pools, in the order of their PFs. A PF without VFs is an empty pool.

    ``forwarder``: the host has one.
    """
    found: list[Pool] = []
    for card in cards:
        alike: dict[_PoolKey, dict[PciAddress, str | None]] = defaultdict(dict)
        for vf in card.pf.vfs:
            tags = _tags(rules, vf.address)
            obstacle = vf_obstacle(vf, card.pf, users, allowed=tags is not None)
            lent = is_vfio(vf.driver) or vf_obstacle(vf, card.pf, users, allowed=True) != Absent()
            likeness = _vf(vf, card, tags or {}, forwarder=forwarder, lent=lent)
            alike[likeness][vf.address] = in_words(obstacle)
        pf_tags = None if rules is None else rules.tags(card.pf.address)
        if pf_tags is not None:
            alike[_pf(card, pf_tags)][card.pf.address] = in_words(pf_obstacle(card.pf, users))
        if not alike:
            alike[_pf(card, {})] = {}
        found += (_pool(host, card, likeness, functions) for likeness, functions in alike.items())
    return tuple(found)


def _tags(rules: Rules | None, address: PciAddress) -> dict[str, str | None] | None:
    return {"physical_network": None, "trusted": "true"} if rules is None else rules.tags(address)


def _vf(
    vf: Vf, card: PfInventory, tags: Mapping[str, str | None], *, forwarder: bool, lent: bool
) -> _PoolKey:
    uses = _uses(vf, card, forwarder=forwarder, lent=lent)
    names = set(card.traits) | set(_said(tags)) | set(uses)
    unknown = set(card.unknown)
    if not _trust(tags):
        names.discard(traits.TRUSTED)
        unknown.discard(traits.TRUSTED)
    if vf.simulated:
        names.add(traits.SIMULATED)
    return _PoolKey(
        device=DeviceType.VDPA if vf.address in card.vdpa else DeviceType.VF,
        numa_node=vf.numa_node,
        traits=frozenset(names),
        unknown=frozenset(unknown),
        physical_network=tags.get("physical_network"),
    )


def _uses(vf: Vf, card: PfInventory, *, forwarder: bool, lent: bool) -> Iterator[str]:
    """The VNIC types that the VF can serve.

    ``lent``: it is in use, or bound to vfio-pci to be used. Its pool must not change by that.
    """
    if vf.address not in card.no_passthrough or vf.simulated:
        yield traits.vnic_type(VnicType.DIRECT)
    if forwarder:
        yield traits.vnic_type(VnicType.VIRTIO_FORWARDER)
    if vf.netdev is not None or lent:  # its user may have taken the netdev away
        yield traits.vnic_type(VnicType.MACVTAP)
    if vf.address in card.vdpa:
        yield traits.vnic_type(VnicType.VDPA)


def _said(tags: Mapping[str, str | None]) -> Iterator[str]:
    """The traits that the allow-list's tags give a function."""
    if "physical_network" in tags and tags["physical_network"] is None:
        yield traits.TUNNELLED
    if (tags.get("remote_managed") or "").lower() == "true":
        yield from (traits.REMOTE_MANAGED, traits.vnic_type(VnicType.REMOTE_MANAGED))
    if tags.get("live_migratable") == "true":
        yield traits.LIVE_MIGRATABLE
    for name in (tags.get("traits") or "").split(","):
        if name.strip():
            yield traits.normal(name)


def _pf(card: PfInventory, tags: Mapping[str, str | None]) -> _PoolKey:
    return _PoolKey(
        device=DeviceType.PF,
        numa_node=card.pf.numa_node,
        traits=frozenset(_said(tags)) | _trust(tags),
        unknown=frozenset(),
        physical_network=tags.get("physical_network"),
    )


def _trust(tags: Mapping[str, str | None]) -> frozenset[str]:
    return frozenset({traits.TRUSTED} if (tags.get("trusted") or "").lower() == "true" else ())


def _pool(
    host: str, card: PfInventory, likeness: _PoolKey, functions: Mapping[PciAddress, str | None]
) -> Pool:
    free = tuple(sorted(address for address, why in functions.items() if why is None))
    return Pool(
        host=host,
        pf=card.pf.address,
        device=likeness.device,
        total=len(functions),
        free=len(free),
        functions=free,
        unavailable={address: why for address, why in functions.items() if why is not None},
        no_passthrough={
            address: card.no_passthrough[address]
            for address in functions
            if address in card.no_passthrough
        },
        netdev=card.pf.netdev,
        numa_node=likeness.numa_node,
        traits=likeness.traits,
        unknown=likeness.unknown,
        physical_network=likeness.physical_network,
        rate=card.rate,
        drawback=card.drawback,
    )
