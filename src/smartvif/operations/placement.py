"""OpenStack's Placement: publish this host's inventory, and choose a host by Placement's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smartvif.choose.selection.policy import Policy
from smartvif.choose.selection.pool import Choice, Pool, as_unclaimed
from smartvif.choose.selection.request import DeviceRequest
from smartvif.choose.selection.request import request as device_request
from smartvif.choose.selection.schedule import Decision, HostOffer, schedule
from smartvif.context.host import HostContext
from smartvif.model import traits
from smartvif.model.choices import DEFAULT_SWITCH, Mode
from smartvif.model.errors import CannotTell, Conflict, Failed, TimedOut
from smartvif.model.needs import NOTHING_SPECIAL, Needs
from smartvif.model.port import Network, Port
from smartvif.operations.migration.source import migrating_ports
from smartvif.operations.ports.device_users import port_devices
from smartvif.operations.ports.inventory import publish
from smartvif.plug.journal import PortStatus
from smartvif.switches import registry
from smartvif.switches.registry import Backend

if TYPE_CHECKING:
    from smartvif.choose.placement.claims import PlacementClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequirements:
    """A port of a machine that has no host yet."""

    mode: Mode
    switch: str = DEFAULT_SWITCH
    needs: Needs = NOTHING_SPECIAL


def publish_host(host: HostContext) -> tuple[str, ...]:
    """Have Placement know this host's switches and SmartNICs; what is to be known, in words.

    What ports have already is booked, as of those that were attached before Placement was there.
    Raises: Refused, where Placement is set up to give one device to two ports; CannotTell, where
    that is not to be seen, or libvirt or Placement does not answer; Failed.
    """
    placement = host.need_placement()
    placement.check()
    ours = port_devices(host)
    pools = [as_unclaimed(pool, ours) for pool in publish(host)]
    found = {trait for row in _alive(host) for trait in row.host_traits}
    if any(pool.total for pool in pools):
        found.add(traits.SMARTNIC)
    notes = placement.publish(host.name, frozenset(found), pools)
    return (*notes, *_book(pools, placement, host))


def _book(pools: Sequence[Pool], placement: PlacementClaims, host: HostContext) -> Iterator[str]:
    """Book in Placement what ports have only here; yields notes. Nova's ports are left to Nova."""
    ports = host.journal.ports()  # first: what is plugged is booked by then
    known = {claim.owner for claim in placement.claims(host.name)} | migrating_ports(host)
    for port in ports:
        needs = port.facts.needs
        if port.vf is None or port.status is not PortStatus.PLUGGED or needs is None:
            continue
        vf = port.vf
        pool = next((each for each in pools if vf in each.functions), None)
        with host.journal.locked(port.id, wait=False) as alone:
            if not alone or host.journal.port(port.id) != port or pool is None or port.id in known:
                continue
            request = DeviceRequest(id=port.id, device=pool.device, min_rate=needs.min_rate)
            try:
                placement.claim((Choice(request=request, pool=pool),))
                yield f"port {port.id} has VF {vf}, which is booked now"
            except Conflict as error:
                yield f"port {port.id} has VF {vf}, which cannot be booked: {error}"


def schedule_host(ports: Sequence[PortRequirements], host: HostContext) -> Decision:
    """On which host a machine with these ports is best; every host with its reason.

    Raises: CannotTell, where Placement does not answer; Failed.
    """
    placement = host.need_placement()
    requests = [_request(str(number), port) for number, port in enumerate(ports, 1)]
    asked = frozenset().union(*(request.host_traits for request in requests))
    found = defaultdict[str, list[Pool]](list)
    for pool in placement.pools(requests):
        found[pool.host].append(pool)
    offers = [
        HostOffer(name=each, traits=there, pools=tuple(found[each]))
        for each, there in placement.hosts(asked | {traits.SMARTNIC}).items()
    ]
    return schedule(offers, requests, policy=Policy(host.settings.pci.policy))


def _request(name: str, port: PortRequirements) -> DeviceRequest:
    wish = Port(
        id=name,
        mac="",
        vnic_type=port.mode.vnic_type,
        network=Network(id="", physical_network=port.needs.physical_network),
        needs=port.needs,
    )
    return device_request(wish, host_traits=registry.switch(port.switch).host_traits)


def _alive(host: HostContext) -> Iterator[Backend]:
    """The switches that answer."""
    for name, driver in host.drivers.switches.items():
        with suppress(CannotTell, Failed, TimedOut):
            driver.check_alive()
            yield registry.switch(name)
