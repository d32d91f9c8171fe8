"""Claim and release VFs for ports of this host. Claims follow the journal.

A VF is claimed before a port's first step is written, allocated when its last is taken, and
released when the journal has deleted the port. A process may die in between: ``reconcile_claims``
then does what it would have done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from smartvif.choose.claims.store import Claim, ClaimState
from smartvif.choose.selection.explain import Candidate, explain, refusal
from smartvif.choose.selection.policy import Policy
from smartvif.choose.selection.pool import ANYWHERE, Guest, Pool, excluding
from smartvif.choose.selection.request import DeviceRequest
from smartvif.choose.selection.select import select
from smartvif.context.host import HostContext
from smartvif.host import sriov
from smartvif.host.sriov import Pf
from smartvif.model.errors import Conflict, SmartvifError
from smartvif.model.pci import PciAddress
from smartvif.operations.ports.device_users import (
    NONE_READ,
    SwitchNetdevs,
    device_users,
    port_devices,
)
from smartvif.operations.ports.inventory import publish
from smartvif.plug import executor
from smartvif.plug.each_port import Action, Report, for_each_port
from smartvif.plug.journal import PortRecord, PortStatus

_log = logging.getLogger(__name__)

_TRIES = 64  # claims that may be lost to concurrent ones, one after another

OnCandidates = Callable[[tuple[Candidate, ...]], None]
"""Called with every device that was considered, and why it was not taken."""


def claim(
    wanted: DeviceRequest,
    host: HostContext,
    *,
    pfs: Sequence[Pf] | None = None,
    netdevs: SwitchNetdevs = NONE_READ,
    guest: Guest = ANYWHERE,
    on_candidates: OnCandidates = lambda _: None,
) -> PciAddress:
    """Make a port the owner of the device that suits it best.

    ``pfs``, and ``netdevs`` of a switch, are read here unless they have been already.
    Raises: NotFound and Refused, where there is none; Conflict, where every claim was lost to a
    concurrent one; CannotTell.
    """
    published = publish(host, pfs, netdevs)
    for _ in range(_TRIES):
        selection = select(
            _choosable(published, wanted, host),
            (wanted,),
            policy=Policy(host.settings.pci.policy),
            guest=guest,
        )
        if selection.problem is not None:
            on_candidates(explain(selection))
            raise refusal(selection, wanted)
        try:
            claims = host.engine.claim(selection.choices)
        except Conflict:
            continue
        on_candidates(
            explain(selection, {each.address: each.owner for each in claims if each.address})
        )
        address = claims[0].address
        assert address is not None
        return address
    raise Conflict(
        f"{_TRIES} claims were lost to concurrent ones", where="SmartNICs", hint="try again"
    )


def preview_claim(
    wanted: DeviceRequest, host: HostContext, besides: Mapping[PciAddress, str]
) -> PciAddress:
    """The device that a port would get if those of ``besides`` were in use, by the user it names.

    Raises: NotFound and Refused, where there is none; CannotTell.
    """
    pools = [excluding(pool, besides) for pool in _choosable(publish(host), wanted, host)]
    selection = select(pools, (wanted,), policy=Policy(host.settings.pci.policy))
    if selection.problem is not None:
        raise refusal(selection, wanted)
    return wanted.vf or selection.choices[0].pool.functions[0]


def _choosable(
    published: Sequence[Pool], wanted: DeviceRequest, host: HostContext
) -> tuple[Pool, ...]:
    """The pools of the claim store, with what only this host knows: PFs without VFs, and why a
    guest cannot get a VF by passthrough.
    """
    known = {each: why for pool in published for each, why in pool.no_passthrough.items()}
    stored = host.engine.pools((wanted,), host.name)
    barren = (pool for pool in published if not pool.total)
    return (*(replace(pool, no_passthrough=known) for pool in stored), *barren)


@contextmanager
def claim_synced_with_journal(port: str, host: HostContext) -> Iterator[None]:
    """Hold the port alone; afterwards, or when it failed, its claim is as the journal has it."""
    with host.journal.locked(port):
        try:
            yield
        finally:
            _sync_claim(port, host)


def unplug(port: str, host: HostContext) -> None:
    """Undo every step of a port, and release its VF.

    Raises: as plug.executor.unplug does.
    """
    with claim_synced_with_journal(port, host):
        executor.unplug(port, host.journal, host.drivers)


def reconcile_claims(
    host: HostContext, *, leave: Collection[str] = (), dry_run: bool = False
) -> Report:
    """Complete claims whose process died, and record those that were lost.

    A claim of a port that is not in the journal is released, unless a switch or a machine still has
    the device. Returns what was done, or with ``dry_run`` would be, by port, and what failed.
    """
    try:
        found = host.engine.claims(host.name)
        ports = {each.owner for each in found} | set(port_devices(host).values())
    except SmartvifError as error:
        return Report(failed={"claims": error})
    booked = {each.owner: each for each in found if each.address is None}
    return for_each_port(
        sorted(ports - set(leave)),
        lambda port: _to_do(port, booked.get(port), host),
        host.journal,
        dry_run=dry_run,
    )


def _to_do(port: str, booked: Claim | None, host: HostContext) -> Action | None:
    """What a port's claim needs. ``booked`` is its allocation in Placement without a claim here."""
    record = host.journal.port(port)
    mine = [each for each in host.claims.claims(host.name) if each.owner == port]
    if record is None and mine:
        return _release_orphan(port, mine, host)
    if record is None:
        return None if booked is None else _release_booking(booked, host)
    if record.status is not PortStatus.PLUGGED or record.vf is None:
        return None  # it is to be undone first
    vf = record.vf
    if [each.address for each in mine] != [vf]:
        return Action(
            words=f"record again that it has VF {vf}", do=lambda: _adopt(record, vf, host)
        )
    if mine[0].state is ClaimState.CLAIMED:
        return Action(
            words=f"record that VF {vf} is allocated",
            do=lambda: host.claims.allocate(port),
        )
    return None


def _adopt(port: PortRecord, vf: PciAddress, host: HostContext) -> None:
    """Record a claim that the store has lost or, for a port of Nova's, never had."""
    publish(host)
    rate = 0 if port.facts.needs is None else port.facts.needs.min_rate
    host.claims.release(port.id)  # it may be by a name that this host had
    host.claims.adopt(port.id, host.name, vf, rate=rate)


def _release_orphan(port: str, mine: Sequence[Claim], host: HostContext) -> Action | None:
    """Release what is claimed by a port that is not in the journal."""
    users = device_users(sriov.pfs(), host)
    for each in mine:
        user = None if each.address is None else users.user(each.address)
        if user is not None:
            _log.warning(
                "port %s is not in the journal, and its VF %s is in use by %s: not released",
                port,
                each.address,
                user,
            )
            return None
    claimed = ", ".join(f"VF {each.address}" for each in mine)
    return Action(
        words=f"release {claimed}: its process died", do=lambda: host.engine.release(port)
    )


def _release_booking(booked: Claim, host: HostContext) -> Action:
    """Release what a port has in Placement and not here."""
    return Action(
        words=f"release a VF of {booked.pf}, which is claimed in Placement only",
        do=lambda: host.engine.release(booked.owner),
    )


def _sync_claim(port: str, host: HostContext) -> None:
    """Bring a port's claim to where the journal has the port.

    A port can be unplugged also where Placement does not answer: reconcile releases later what is
    booked there. For one without a claim here nothing is asked of Placement.
    """
    record = host.journal.port(port)
    if record is None and any(each.owner == port for each in host.claims.claims()):
        try:
            host.engine.release(port)
        except SmartvifError as error:
            _log.warning(
                "the claim of port %s is not released: %s; smartvif reconcile tries again",
                port,
                error,
            )
    elif record is not None and record.status is PortStatus.PLUGGED and record.vf is not None:
        host.claims.allocate(port)
