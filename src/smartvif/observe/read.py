"""Read a scope of a host: one pass for each source, without changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.kernel.netdevice import Link
from smartvif.host import sriov
from smartvif.host.sriov import Vf
from smartvif.model.errors import SmartvifError
from smartvif.model.known import Absent, Known, Present, Unknown, read_known
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import VfIdentity
from smartvif.observe.observation import Observation, RelayReading, Scope, VfNames

K = TypeVar("K")
V = TypeVar("V")


def read(scope: Scope, drivers: Drivers) -> Observation:
    """The observation of ``scope``. A part that cannot be read is unknown; nothing is raised."""

    # Drivers are looked up when they are used: a host may lack what is not in the scope.
    def link(name: str) -> Link | None:
        return drivers.links.get(name)

    def function(address: PciAddress) -> Vf:
        return drivers.vfio.read(address)

    return Observation(
        links=_each(scope.links, link),
        functions=_each(scope.functions, function),
        names={vf.address: _names(vf, drivers) for vf in scope.names},
        vf_settings=_each(scope.vf_settings, lambda key: drivers.links.vf_admin(*key)),
        switch_ports=_switch_ports(scope.switch_ports, drivers),
        relays=_relays(scope.relays, drivers),
        machines=_each(scope.machines, lambda uuid: drivers.need_guests().read(uuid)),
    )


def _each(keys: Iterable[K], get: Callable[[K], V | None]) -> dict[K, Known[V]]:
    return {key: read_known(lambda key=key: get(key)) for key in keys}  # type: ignore[misc]


def _names(vf: VfIdentity, drivers: Drivers) -> VfNames:
    """The netdevs of a VF, looked up by its address and never by an earlier name."""
    found = read_known(lambda: drivers.vfio.read(vf.address))
    if not isinstance(found, Present):
        return VfNames(representor=found, netdev=found, uplink=found)
    return VfNames(
        representor=read_known(lambda: drivers.representors.find(found.value).netdev),
        netdev=read_known(lambda: found.value.netdev),
        uplink=read_known(lambda: sriov.uplink(found.value.pf)),
    )


def _switch_ports(
    wanted: Collection[tuple[str, str]], drivers: Drivers
) -> dict[tuple[str, str], Known[object]]:
    by_switch = defaultdict[str, list[str]](list)
    for switch, key in sorted(wanted):
        by_switch[switch].append(key)
    found: dict[tuple[str, str], Known[object]] = {}
    for switch, keys in by_switch.items():
        ports = _of_switch(switch, keys, drivers)
        found |= {(switch, key): ports.get(key, Absent()) for key in keys}
    return found


def _of_switch(switch: str, keys: Collection[str], drivers: Drivers) -> Mapping[str, Known[object]]:
    try:
        return drivers.switch(switch).read_ports(keys)
    except SmartvifError as error:
        return dict.fromkeys(keys, Unknown.of(error))


def _relays(specs: Collection[RelaySpec], drivers: Drivers) -> dict[RelaySpec, Known[RelayReading]]:
    if not specs:
        return {}
    try:
        engine = drivers.need_forwarder()
        states = engine.states()
    except SmartvifError as error:
        return dict.fromkeys(specs, Unknown.of(error))

    def reading(spec: RelaySpec) -> RelayReading:
        return RelayReading(matches=engine.matches(spec), state=states.get(spec.port_id))

    return _each(specs, reading)
