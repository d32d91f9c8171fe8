"""Machines on hosts where Nova and we disagree on what can be had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from smartvif.choose.selection.request import DeviceRequest
from smartvif.choose.selection.select import Selection, select
from smartvif.model import traits
from smartvif.model.choices import NumaPolicy
from smartvif.model.port import VifType, VnicType
from smartvif.switches.device_request import device_request
from tests.support.nova.hosts import Function, SmartNic, guest, pools
from tests.support.nova.neutron_ports import Case, segment

NULL: dict[str, str | None] = {"physical_network": None}
LEFT: dict[str, str | None] = {"physical_network": "left"}
UNSAID: dict[str, str | None] = {}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A host, the ports that a machine needs on it, how they are bound, and where it runs."""

    nics: tuple[SmartNic, ...]
    ports: tuple[Case, ...]
    vif_type: VifType = VifType.OVS
    nodes: tuple[int, ...] = ()

    def requests(self) -> list[DeviceRequest]:
        """Ours."""
        found = (device_request(port.port(), self.vif_type) for port in self.ports)
        return [replace(each, id=f"port {number}") for number, each in enumerate(found)]

    def ours(self) -> Selection:
        """What we choose."""
        return select(pools(self.nics), self.requests(), guest=guest(self.nodes))

    def as_nova_would(self, *names: str) -> Selection:
        """What we would choose if we did as little as Nova, in these points."""
        offered, wanted = list(pools(self.nics)), self.requests()
        if "unsaid-network" in names:
            offered = [replace(each, traits=each.traits | {traits.TUNNELLED}) for each in offered]
        if "eswitch-mode" in names:
            mode = {traits.SWITCHDEV}
            wanted = [
                replace(each, required=each.required - mode, forbidden=each.forbidden - mode)
                for each in wanted
            ]
        return select(offered, wanted, guest=guest(self.nodes))

    def as_we_would(self, *names: str) -> Machine:
        """The same, asked of Nova as we ask, in these points."""
        ports = self.ports
        if "not-trusted" in names:
            ports = tuple(
                replace(port, trusted=None) if port.trusted is False else port for port in ports
            )
        if "no-numa-policy" in names:
            ports = tuple(replace(port, flavor=NumaPolicy.PREFERRED) for port in ports)
        return replace(self, ports=ports)


def nic(number: int, count: int, of_vfs: dict[str, str | None], **changed: Any) -> SmartNic:
    """A PF with so many VFs, all alike."""
    return SmartNic(number=number, vfs=(Function(tags=of_vfs),) * count, **changed)


def port(network: str | None = None, **changed: Any) -> Case:
    """A port whose NUMA policy is said."""
    segments = (segment("vxlan") if network is None else segment("vlan", network),)
    values: dict[str, Any] = {"segments": segments, "policy": NumaPolicy.PREFERRED}
    return Case(**values | changed)


WHOLE: dict[str, Any] = {"vnic_type": VnicType.DIRECT_PHYSICAL}
DIFFERENCES = {
    "unsaid-network": Machine(nics=(nic(0, 1, UNSAID),), ports=(port(),)),
    "eswitch-mode": Machine(nics=(nic(0, 1, NULL, is_switchdev=False),), ports=(port(),)),
    "whole-and-parts": Machine(
        nics=(nic(0, 2, LEFT, tags=LEFT),), ports=(port("left"), port("left", **WHOLE))
    ),
    "not-trusted": Machine(nics=(nic(0, 1, NULL),), ports=(port(trusted=False),)),
    "no-numa-policy": Machine(
        nics=(nic(0, 1, NULL, numa_node=2),), ports=(port(policy=None),), nodes=(0,)
    ),
    # The first port takes what is near, and only the second must.
    "first-come": Machine(
        nics=(nic(0, 1, LEFT, numa_node=0), nic(1, 1, LEFT, numa_node=2)),
        ports=(port("left"), port("left", policy=NumaPolicy.REQUIRED)),
        nodes=(0,),
    ),
    # The only thing near is a PF, which Nova finds to be none of what is asked for after all else.
    "kind-after-node": Machine(
        nics=(nic(0, 0, {}, tags=LEFT, numa_node=0), nic(1, 1, LEFT, numa_node=2)),
        ports=(port("left"),),
        nodes=(0,),
    ),
}
"""An example of each difference."""
