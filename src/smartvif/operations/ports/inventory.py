"""The pools of this host's SmartNICs, read from the host."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from smartvif.choose.allow_list import report as allow_list
from smartvif.choose.allow_list.match import Rules
from smartvif.choose.selection.build_pools import PfInventory, build_pools
from smartvif.choose.selection.device_use import DeviceUsers, obstacles
from smartvif.choose.selection.pool import Pool
from smartvif.context.host import HostContext
from smartvif.host import bond, netdev, sriov
from smartvif.host.capabilities import capabilities
from smartvif.host.passthrough import no_passthrough, passed_through_siblings
from smartvif.host.sriov import Pf
from smartvif.model.errors import CannotTell
from smartvif.model.known import Known
from smartvif.model.pci import PciAddress
from smartvif.operations.ports.device_users import (
    NONE_READ,
    SwitchNetdevs,
    device_users,
    port_devices,
    users_without_machines,
)

_log = logging.getLogger(__name__)


def publish(
    host: HostContext, pfs: Sequence[Pf] | None = None, netdevs: SwitchNetdevs = NONE_READ
) -> tuple[Pool, ...]:
    """Publish this host's pools in the claim store, and return them.

    ``pfs``, and ``netdevs`` of a switch, are read here unless they have been already.
    Raises: CannotTell, where libvirt does not answer; Invalid, for the allow-list.
    """
    pfs = sriov.pfs() if pfs is None else pfs
    ports = port_devices(host)
    found = _pools(pfs, _with_ports(device_users(pfs, host, netdevs), ports), host)
    host.claims.publish(host.name, found)
    return found


def read_pools(host: HostContext) -> tuple[Pool, ...]:
    """The pools that ports can choose from now; nothing is written.

    Where libvirt does not answer, the VFs of its machines are unknown, which is logged.
    Raises: Invalid, for the allow-list.
    """
    pfs = sriov.pfs()
    return _pools(pfs, _all_users(pfs, host), host)


def read_obstacles(pfs: Sequence[Pf], host: HostContext) -> dict[PciAddress, Known[str]]:
    """What stands against giving each VF to a port: the answer by which the pools are made.

    As ``read_pools``, without what takes long to read. Raises: Invalid, for the allow-list.
    """
    return obstacles(pfs, _all_users(pfs, host), _rules(host))


def _all_users(pfs: Sequence[Pf], host: HostContext) -> DeviceUsers:
    """Every user that can be seen, those included that have only claimed."""
    try:
        found = device_users(pfs, host)
    except CannotTell as error:
        _log.warning("VFs of virtual machines may be among the free ones: %s", error)
        found = users_without_machines(pfs, host)
    claims = host.claims.claims(host.name)
    claimed = {each.address: each.owner for each in claims if each.address is not None}
    return _with_ports(found, claimed | port_devices(host))


def _with_ports(users: DeviceUsers, ports: Mapping[PciAddress, str]) -> DeviceUsers:
    owners = {address: f"port {port}" for address, port in ports.items()}
    return replace(users, named={**users.named, **owners})


def _rules(host: HostContext) -> Rules | None:
    return allow_list.rules(host.settings.pci.device_spec)


def _pools(pfs: Sequence[Pf], users: DeviceUsers, host: HostContext) -> tuple[Pool, ...]:
    cards = [_card(pf, pfs, users.vdpa) for pf in pfs]
    with_forwarder = host.drivers.forwarder is not None
    return build_pools(host.name, cards, users, _rules(host), forwarder=with_forwarder)


def _card(pf: Pf, pfs: Sequence[Pf], there: frozenset[PciAddress]) -> PfInventory:
    found = capabilities(pf, pfs=pfs)
    return PfInventory(
        pf=pf,
        traits=found.traits,
        unknown=found.unknown,
        rate=None if pf.netdev is None else netdev.speed(pf.netdev),
        drawback=_drawback(pf, pfs),
        vdpa=frozenset(vf.address for vf in pf.vfs if vf.address in there),
        no_passthrough={
            vf.address: why for vf in pf.vfs if (why := no_passthrough(vf)) is not None
        },
    )


def _drawback(pf: Pf, pfs: Sequence[Pf]) -> str | None:
    """Why other PFs are better: a guest may reset the card, or a bond does not cover the VFs."""
    siblings = passed_through_siblings(pf)
    if siblings:
        return f"{siblings[0]}, of the same card, is passed through to a guest"
    found = bond.of(pf.netdev) if pf.netdev is not None else None
    problem = None if found is None else bond.lag_problem(found, pfs)
    return None if problem is None else f"the card does not share its VFs: {problem}"
