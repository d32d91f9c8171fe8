"""Pools of interchangeable devices, and whether they suit a port. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model import traits
from smartvif.model.choices import NumaPolicy
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Devices of one PF that have the same properties; a PF is one by itself.

    ``free`` of ``total`` can be had; ``functions`` are their addresses, in order, where they are
    known, and ``unavailable`` says for the others why not. ``no_passthrough`` says why a guest
    cannot get a function by passthrough; it is known on the function's own host only. ``unknown``
    are the traits that could not be determined. ``rate`` is what is left of the PF's speed in
    kbit/s; None: unknown. ``drawback`` is why it is the last to be taken.
    """

    host: str
    pf: PciAddress
    device: DeviceType
    total: int
    free: int
    functions: tuple[PciAddress, ...] = ()
    unavailable: Mapping[PciAddress, str] = field(default_factory=dict)
    no_passthrough: Mapping[PciAddress, str] = field(default_factory=dict)
    netdev: str | None = None
    numa_node: int | None = None
    traits: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    physical_network: str | None = None
    rate: int | None = None
    drawback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Where a machine runs: on which NUMA nodes, none if on any; ``sockets`` of all nodes."""

    nodes: frozenset[int] = frozenset()
    sockets: Mapping[int, int] = field(default_factory=dict)

    def is_near(self, node: int | None) -> bool:
        """Whether a device on ``node`` is on one of its own."""
        return not self.nodes or node in self.nodes

    def shares_socket(self, node: int | None) -> bool:
        """Whether a device on ``node`` is in one of its sockets."""
        mine = {self.sockets.get(each) for each in self.nodes} - {None}
        return self.is_near(node) or (node is not None and self.sockets.get(node) in mine)


ANYWHERE = Guest()

_DIRECT = traits.vnic_type(VnicType.DIRECT)
_LACKING = {
    _DIRECT: "it is not alone in an IOMMU group, so that no guest can get it by passthrough",
    traits.vnic_type(VnicType.MACVTAP): "it has no netdev",
    traits.vnic_type(VnicType.VDPA): "it is no vDPA device",
    traits.vnic_type(VnicType.VIRTIO_FORWARDER): "its host has no forwarder",
    traits.SWITCHDEV: "its eswitch is not in switchdev mode",
    traits.TRUSTED: "it may not be trusted",
    traits.REMOTE_MANAGED: "no other host manages it",
}
_HAVING = {
    traits.SWITCHDEV: "its eswitch is in switchdev mode, which leaves legacy ports unconnected",
    traits.REMOTE_MANAGED: "it is for remote-managed ports",
}


def excluding(pool: Pool, taken: Mapping[PciAddress, str]) -> Pool:
    """The pool with some of its functions in use; ``taken`` has the user of each."""
    functions = tuple(each for each in pool.functions if each not in taken)
    gone = {each: f"in use by {taken[each]}" for each in pool.functions if each in taken}
    return replace(
        pool,
        free=pool.free - len(gone),
        functions=functions,
        unavailable={**pool.unavailable, **gone},
    )


def as_unclaimed(pool: Pool, given: Collection[PciAddress]) -> Pool:
    """The pool as if the functions ``given`` were free, without others that are unavailable."""
    functions = tuple(sorted({*pool.functions, *(pool.unavailable.keys() & set(given))}))
    count = len(functions)
    return replace(pool, total=count, free=count, functions=functions, unavailable={})


def mismatch(pool: Pool, request: DeviceRequest, guest: Guest = ANYWHERE) -> str | None:
    """Why the devices of a pool do not suit the request, free or not; None where they do."""
    if pool.device is not request.device:
        return f"it is a {pool.device}, and a {request.device} is needed"
    if request.pf is not None and not names_pf(pool, request.pf):
        return f"it is of another PF than {request.pf}"
    return (
        _without(pool, request)
        or _elsewhere(pool, request)
        or _slow(pool, request)
        or _far(pool, request, guest)
    )


def in_detail(pool: Pool, request: DeviceRequest, address: PciAddress, reason: str) -> str:
    """Why one of the pool's devices would not do, where more is known of it than of the pool."""
    is_passthrough = reason == _LACKING[_DIRECT] and reason == _without(pool, request)
    return pool.no_passthrough.get(address, reason) if is_passthrough else reason


def names_pf(pool: Pool, name: str) -> bool:
    """Whether ``name`` is the pool's PF: its address in either case, or its netdev."""
    return name == pool.netdev or name.lower() == str(pool.pf)


def _without(pool: Pool, request: DeviceRequest) -> str | None:
    """Which trait it lacks, or has and should not."""
    if not request.required <= pool.traits:
        name = min(request.required - pool.traits)
        if name in pool.unknown:
            return f"it is not known whether it has {name}"
        return _LACKING.get(name, f"it lacks {name}")
    if not request.forbidden.isdisjoint(pool.traits):
        name = min(request.forbidden & pool.traits)
        return _HAVING.get(name, f"it has {name}")
    if not request.forbidden.isdisjoint(pool.unknown):
        return f"it is not known whether it has {min(request.forbidden & pool.unknown)}"
    return None


def _elsewhere(pool: Pool, request: DeviceRequest) -> str | None:
    """Whether it is on another network; or not said to be for tunnels, as a GPU is not."""
    there, wanted = pool.physical_network, request.physical_network
    if wanted is None and there is None:
        if traits.TUNNELLED in pool.traits:
            return None
        return "the allow-list says no physical_network of it; for tunnels it must say null"
    if wanted is None:
        return f"it is on physical network {there}, and a tunnelled one is needed"
    if there is None:
        return f"it is on no physical network, and {wanted} is needed"
    # Nova compares them in any case (nova/pci/utils.py, pci_device_prop_match).
    if there.lower() != wanted.lower():
        return f"it is on physical network {there}, not {wanted}"
    return None


def _slow(pool: Pool, request: DeviceRequest) -> str | None:
    """Whether its PF has too little speed left."""
    if request.min_rate and pool.rate is None:
        return "the speed of its PF is not known"
    if request.min_rate > (pool.rate or 0):
        return f"{pool.rate} kbit/s of its PF are left, and {request.min_rate} are needed"
    return None


def _far(pool: Pool, request: DeviceRequest, guest: Guest) -> str | None:
    """Whether it is too far from the guest."""
    node = pool.numa_node
    if guest.is_near(node):
        return None
    nodes = ", ".join(map(str, sorted(guest.nodes)))
    match request.numa:
        case NumaPolicy.REQUIRED:
            return f"it is on NUMA node {node}, and the guest on {nodes}"
        case NumaPolicy.LEGACY if node is not None:
            return f"it is on NUMA node {node}, and the guest on {nodes}"
        case NumaPolicy.SOCKET if not guest.shares_socket(node):
            return f"it is on NUMA node {node}, in another socket than the guest's {nodes}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Of which pool a port is to have a device."""

    request: DeviceRequest
    pool: Pool
