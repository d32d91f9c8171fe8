"""The mapping between a host's pools and Placement's resource providers. Pure.

A host is a resource provider by its name. Each of its pools is a child of it: a PF's VFs by the
name of the host and the PF's address, as in ``compute-1_0000:03:00.0``, what else the PF has with
more behind that. A provider has one set of traits, so pools that differ need one each.

Not in Placement: NUMA nodes, netdevs, drawbacks, which function is free. An unknown trait is
published as absent, so a request that forbids it can be sent to a host that then refuses.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model import traits
from smartvif.model.errors import CannotTell, Invalid
from smartvif.model.pci import PciAddress

BANDWIDTH = "NET_BW_EGR_KILOBIT_PER_SEC"  # os-resource-classes; what the guest sends
CLASSES = {
    DeviceType.VF: "SRIOV_NET_VF",
    DeviceType.PF: "PCI_DEVICE",
    DeviceType.VDPA: "CUSTOM_VDPA_DEVICE",
}
_NAMESPACE = uuid.UUID("7d0a9c1e-3a55-4a0e-9a5c-52f1f8ff0c29")
_SUFFIXES = {DeviceType.VF: "", DeviceType.PF: "_PF", DeviceType.VDPA: "_VDPA"}
_ADDRESS = r"[0-9A-F]{4,8}:[0-9A-F]{2}:[01][0-9A-F]\.[0-7]"
_REST = re.compile(rf"_(?P<pf>{_ADDRESS})(?P<suffix>_PF|_VDPA|)(?:_{_ADDRESS})?")
_PHYSNET = traits.physical_network("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A resource provider as Placement lists it; ``parent`` is None of a root."""

    uuid: str
    name: str
    parent: str | None
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The host, PF and kind of device that a provider of ours stands for."""

    host: str
    pf: PciAddress
    device: DeviceType


def identity(name: str) -> str:
    """The UUID of our provider of a name; it distinguishes our providers from others."""
    return str(uuid.uuid5(_NAMESPACE, name))


def read(entry: Mapping[str, Any]) -> Provider:
    """One of ``resource_providers``.

    Raises: CannotTell.
    """
    try:
        return Provider(
            uuid=entry["uuid"],
            name=entry["name"],
            parent=entry["parent_provider_uuid"],
            root=entry["root_provider_uuid"],
        )
    except (KeyError, TypeError) as error:
        raise CannotTell("it shows a resource provider without its tree", where="Placement") from (
            error
        )


def place(provider: Provider, host: str) -> Place | None:
    """What a provider below ``host`` stands for; None where it is not ours."""
    rest = _REST.fullmatch(provider.name.removeprefix(host))
    if provider.uuid != identity(provider.name) or rest is None:
        return None
    device = next(each for each, suffix in _SUFFIXES.items() if suffix == rest["suffix"])
    return Place(host=host, pf=PciAddress.parse(rest["pf"]), device=device)


def places(providers: Sequence[Provider]) -> dict[str, Place]:
    """What each of our providers stands for."""
    roots = {each.uuid: each.name for each in providers if each.parent is None}
    found = ((each.uuid, place(each, roots[each.root])) for each in providers)
    return {uuid: place for uuid, place in found if place is not None}


def names(host: str, pools: Iterable[Pool]) -> dict[str, Pool]:
    """Each pool that has devices by its provider's name.

    Of several of one PF the first has the PF's own name, the others that of their first function.
    Raises: Invalid, where that function is not known.
    """
    found: dict[str, Pool] = {}
    some = [pool for pool in pools if pool.total]
    kinds = Counter((pool.pf, pool.device) for pool in some)
    for pool in sorted(some, key=lambda each: (each.pf, each.device, each.functions)):
        if kinds[pool.pf, pool.device] > 1 and not pool.functions:
            raise Invalid(
                f"PF {pool.pf} has several pools, and one lists no function to name it by",
                where=host,
            )
        name = f"{host}_{str(pool.pf).upper()}{_SUFFIXES[pool.device]}"
        if name in found:
            name = f"{name}_{str(pool.functions[0]).upper()}"
        found[name] = pool
    return found


def inventories(published: Mapping[str, Pool]) -> dict[str, dict[str, dict[str, Any]]]:
    """The inventories of each provider.

    A PF's speed is an inventory once: with the first of its pools of VFs or vDPA devices, so the
    others are for ports without a guaranteed rate. A whole PF has its speed to itself.
    """
    found, published_speeds = {}, set[tuple[PciAddress, bool]]()
    for name, pool in published.items():
        found[name] = {CLASSES[pool.device]: _inventory(pool.total)}
        key = (pool.pf, pool.device is DeviceType.PF)
        if pool.rate and key not in published_speeds:
            found[name][BANDWIDTH] = _inventory(pool.rate)
            published_speeds.add(key)
    return found


def _inventory(total: int) -> dict[str, Any]:
    """All fields, so that what is there can be compared with it.

    ``max_unit`` is not 1, though a port has one device: candidates for several ports are measured
    by it all together.
    """
    return {
        "total": total,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": total,
        "step_size": 1,
        "allocation_ratio": 1.0,
    }


def pool_traits(pool: Pool) -> frozenset[str]:
    """A pool's traits, and the network that it is on. For tunnels it must say so itself."""
    if pool.physical_network is None:
        return pool.traits
    return pool.traits | {traits.physical_network(pool.physical_network)}


def request_traits(request: DeviceRequest) -> frozenset[str]:
    """What a pool has to have for a request."""
    network = request.physical_network
    wanted = traits.TUNNELLED if network is None else traits.physical_network(network)
    return request.required | {wanted}


def resources(request: DeviceRequest) -> dict[str, int]:
    """What a request takes."""
    assert request.device is not None
    bandwidth = {BANDWIDTH: request.min_rate} if request.min_rate else {}
    return {CLASSES[request.device]: 1, **bandwidth}


def pool(
    where: Place, summary: Mapping[str, Any], requests: Sequence[DeviceRequest]
) -> Pool | None:
    """A provider as candidates have it; None where it has nothing that could be had.

    A trait does not have a network's name letter by letter, so where it fits a request's it is
    that one.
    """
    try:
        has = frozenset[str](summary["traits"])
        devices = summary["resources"].get(CLASSES[where.device], {"capacity": 0, "used": 0})
        speed = summary["resources"].get(BANDWIDTH)
        total, free = devices["capacity"], devices["capacity"] - devices["used"]
        rate = None if speed is None else max(0, speed["capacity"] - speed["used"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CannotTell("it shows a candidate without its traits", where="Placement") from error
    if total <= 0:
        return None
    on = sorted(name for name in has if name.startswith(_PHYSNET))
    asked = (each.physical_network for each in requests if each.physical_network is not None)
    known = {traits.physical_network(name): name for name in asked}
    named = [known.get(name, name.removeprefix(_PHYSNET).lower()) for name in on]
    return Pool(
        host=where.host,
        pf=where.pf,
        device=where.device,
        total=total,
        free=max(0, free),
        traits=has - set(on),
        physical_network=named[0] if named else None,
        rate=rate,
    )
