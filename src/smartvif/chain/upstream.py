"""OpenStack's Placement: telling it what this host has, and choosing a host by what it says."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from smartvif.chain.holders import port_holders
from smartvif.chain.host import Host
from smartvif.chain.inventory import name, publish
from smartvif.chain.request import NOTHING_SPECIAL, Mode, Needs
from smartvif.choose import traits
from smartvif.choose.pool import Pool, as_new
from smartvif.choose.request import DeviceRequest
from smartvif.choose.request import request as device_request
from smartvif.choose.schedule import Decision, HostOffer, schedule
from smartvif.choose.select import Policy
from smartvif.model.errors import CannotTell, Failed, TimedOut
from smartvif.model.port import Network, Port, VifType
from smartvif.plug.plan import Switch

_VIF_TYPES = {Switch.OVS: VifType.OVS, Switch.VROUTER: VifType.VROUTER}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortWish:
    """A port of a machine that has no host yet."""

    mode: Mode
    switch: Switch = Switch.OVS
    needs: Needs = NOTHING_SPECIAL


def publish_upstream(host: Host) -> tuple[str, ...]:
    """Have Placement know this host's switches and SmartNICs; what is to be known, in words.

    Raises: Refused, where Placement is set up to give one device to two ports; CannotTell, where
    that is not to be seen, or libvirt or Placement does not answer; Failed.
    """
    placement = host.need_placement()
    placement.examine()
    ours = port_holders(host)
    pools = [as_new(pool, ours) for pool in publish(host)]
    found = {traits.datapath(switch) for switch in _switches(host)}
    if any(pool.total for pool in pools):
        found.add(traits.SMARTNIC)
    return placement.publish(name(host), frozenset(found), pools)


def decide(ports: Sequence[PortWish], host: Host) -> Decision:
    """On which host a machine with these ports is best; every host with its reason.

    Raises: CannotTell, where Placement does not answer; Failed.
    """
    placement = host.need_placement()
    requests = [_request(port) for port in ports]
    asked = frozenset().union(*(request.host_traits for request in requests))
    found = defaultdict[str, list[Pool]](list)
    for pool in placement.pools(requests):
        found[pool.host].append(pool)
    offers = [
        HostOffer(name=each, traits=there, pools=tuple(found[each]))
        for each, there in placement.hosts(asked | {traits.SMARTNIC}).items()
    ]
    return schedule(offers, requests, policy=Policy(host.settings.pci.policy))


def _request(port: PortWish) -> DeviceRequest:
    wish = Port(
        id=str(uuid.uuid4()),
        mac="",
        vnic_type=port.mode.vnic_type,
        network=Network(id="", physical_network=port.needs.physical_network),
        trusted=port.needs.trusted,
        capabilities=frozenset(port.needs.capabilities),
        min_rate=port.needs.min_rate,
        numa_policy=port.needs.numa,
    )
    return device_request(wish, _VIF_TYPES[port.switch])


def _switches(host: Host) -> list[Switch]:
    """The switches that answer."""
    found = []
    with suppress(CannotTell):
        host.world.need_ovs().confirm()
        found.append(Switch.OVS)
    with suppress(CannotTell, Failed, TimedOut):
        host.world.need_vrouter().examine()
        found.append(Switch.VROUTER)
    return found
