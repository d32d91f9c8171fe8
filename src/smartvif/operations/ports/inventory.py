"""The pools of this host's SmartNICs, read from the host."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from smartvif.choose.allow_list import report as allow_list
from smartvif.choose.selection.build_pools import PfInventory, build_pools
from smartvif.choose.selection.pool import Guest, Pool, excluding
from smartvif.context.host import HostContext
from smartvif.host import bond, netdev, numa, sriov, vdpa
from smartvif.host.capabilities import capabilities
from smartvif.host.passthrough import passed_through_siblings, shares_group
from smartvif.host.sriov import Pf
from smartvif.model.errors import CannotTell
from smartvif.model.pci import PciAddress
from smartvif.operations.ports.device_users import device_users, port_devices, switch_users

_log = logging.getLogger(__name__)


def publish(host: HostContext) -> tuple[Pool, ...]:
    """Publish this host's pools in the claim store, and return them.

    Raises: CannotTell, where libvirt does not answer; Invalid, for the allow-list.
    """
    pfs = sriov.pfs()
    found = _pools(pfs, device_users(pfs, host), host)
    host.claims.publish(host.name, found)
    return found


def read_pools(host: HostContext) -> tuple[Pool, ...]:
    """The pools that ports can choose from now; nothing is written.

    Where libvirt does not answer, the VFs of its machines are unknown, which is logged.
    Raises: Invalid, for the allow-list.
    """
    pfs = sriov.pfs()
    try:
        taken = device_users(pfs, host)
    except CannotTell as error:
        _log.warning("VFs of virtual machines may be among the free ones: %s", error)
        taken = switch_users(pfs, host)
    claims = host.claims.claims(host.name)
    claimed = {each.address: f"port {each.owner}" for each in claims if each.address is not None}
    return tuple(excluding(pool, claimed) for pool in _pools(pfs, taken, host))


def guest_location(vm: str, host: HostContext) -> Guest:
    """Where a machine of this host runs.

    Raises: NotFound; CannotTell, where libvirt does not answer.
    """
    return Guest(nodes=host.domains.nodes(vm), sockets=numa.sockets())


def _pools(
    pfs: Sequence[Pf], taken: Mapping[PciAddress, str], host: HostContext
) -> tuple[Pool, ...]:
    ports = {address: f"port {port}" for address, port in port_devices(host).items()}
    return build_pools(
        host.name,
        _cards(pfs),
        {**taken, **ports},
        allow_list.rules(host.settings.pci.device_spec),
        forwarder=host.drivers.forwarder is not None,
    )


def _cards(pfs: Sequence[Pf]) -> list[PfInventory]:
    there = vdpa.functions()
    return [_card(pf, pfs, there) for pf in pfs]


def _card(pf: Pf, pfs: Sequence[Pf], there: frozenset[PciAddress]) -> PfInventory:
    found = capabilities(pf, pfs=pfs)
    return PfInventory(
        pf=pf,
        traits=found.traits,
        unknown=found.unknown,
        rate=None if pf.netdev is None else netdev.speed(pf.netdev),
        drawback=_drawback(pf, pfs),
        vdpa=frozenset(vf.address for vf in pf.vfs if vf.address in there),
        alone=frozenset(
            vf.address for vf in pf.vfs if vf.iommu_group is not None and not shares_group(vf)
        ),
    )


def _drawback(pf: Pf, pfs: Sequence[Pf]) -> str | None:
    """Why other PFs are better: a guest may reset the card, or a bond does not cover the VFs."""
    siblings = passed_through_siblings(pf)
    if siblings:
        return f"{siblings[0]}, of the same card, is passed through to a guest"
    found = bond.of(pf.netdev) if pf.netdev is not None else None
    problem = None if found is None else bond.lag_problem(found, pfs)
    return None if problem is None else f"the card does not share its VFs: {problem}"
