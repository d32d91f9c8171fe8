"""Move a running machine with its ports to another host, or leave it as it is.

The other host plugs the ports first, so that they work when the machine arrives; only then does it
move. Until it has moved, everything is rolled back when a step fails. After that there is no way
back and none is needed: only cleaning up is left.

The journal has a move from its beginning to its end. Where the process dies in between,
``finish_migrations`` brings it to one of the two ends: the machine is on this host, or it is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from smartvif.context.host import HostContext
from smartvif.model.errors import Failed, Refused, SmartvifError
from smartvif.model.guest_interface import InterfaceIdentity
from smartvif.model.vif import Machine
from smartvif.operations.migration.offer import MachineOffer, Move
from smartvif.operations.migration.peer import Peer, RemotePeer
from smartvif.operations.ports.attach import attach
from smartvif.operations.ports.claims import unplug
from smartvif.plug.each_port import Report
from smartvif.plug.journal import PortStatus
from smartvif.plug.steps.guest import AttachedInterface

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMigrationCheck:
    """The forecast for a port. ``problem`` is what keeps it from moving."""

    id: str
    mode: str
    transparent: bool
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationCheck:
    """Whether a machine can move. ``problem`` is the machine's own."""

    vm: str
    problem: str | None
    ports: tuple[PortMigrationCheck, ...]
    address: str | None

    @property
    def ready(self) -> bool:
        """Whether there is no problem."""
        return self.problem is None and all(port.problem is None for port in self.ports)


def check_migration(vm: str, host: HostContext, peer: Peer) -> MigrationCheck:
    """Check everything that can prevent the migration; nothing is changed.

    Raises: NotFound, for a machine that is not here; Failed and CannotTell, where the other host,
    libvirt or a switch does not answer.
    """
    return _check(_offer(Machine(uuid=host.domains.uuid(vm), name=vm), host), host, peer)


def _check(offer: MachineOffer, host: HostContext, peer: Peer) -> MigrationCheck:
    there = peer.check(offer)
    problem = there.problem and f"{peer.name}: {there.problem}"
    if not host.domains.running(offer.uuid):
        problem = "it does not run: define it there, and attach its ports"
    return MigrationCheck(
        vm=offer.vm,
        problem=problem,
        ports=tuple(
            PortMigrationCheck(
                id=port.id,
                mode=str(port.mode),
                transparent=port.transparent,
                problem=there.ports[port.id],
            )
            for port in offer.ports
        ),
        address=there.address,
    )


def migrate(
    vm: str, host: HostContext, peer: Peer, report: Callable[[str], None]
) -> dict[str, str]:
    """Move the machine; ``report`` is called with each step.

    Returns the ports that moved but could not be attached there, each with the reason.
    Raises: Refused, with the obstacle, before anything is changed; Failed and CannotTell
    after what was done has been undone, with the machine running here as before.
    """
    machine = Machine(uuid=host.domains.uuid(vm), name=vm)
    with host.journal.locked(_lock(machine.uuid), wait=False) as alone:
        if not alone:
            raise Refused("it is being moved already", where=_where(vm), hint="wait for that")
        move = host.journal.moves().get(machine.uuid)
        if move is not None:
            _settle(Move.load(machine.uuid, move), host)
        return _migrate(machine, host, peer, report)


def finish_migrations(host: HostContext, *, dry_run: bool = False) -> Report:
    """Finish or roll back every move whose process was interrupted.

    Where the machine is here, the move is rolled back; else the other host takes over, and nothing
    is left here. Returns what was done, or with ``dry_run`` would be, by port, and what
    failed, by machine.
    """
    concerned: dict[str, str] = {}
    failed: dict[str, SmartvifError] = {}
    for uuid in host.journal.moves():
        with host.journal.locked(_lock(uuid), wait=False) as held:
            move = host.journal.moves().get(uuid)
            if not held or move is None:
                continue
            vm, stays = uuid, host.domains.exists(uuid)
            try:
                found = Move.load(uuid, move)
                vm = host.domains.name(uuid) if stays else found.offer.vm
                words = f"{'undo' if stays else 'finish'}: {vm} was moving to {found.to}"
                concerned |= {port.id: words for port in found.offer.ports}
                if not dry_run:
                    _settle(found, host)
            except SmartvifError as error:
                failed[vm] = error
    return Report(done=concerned, failed=failed)


def migrating_ports(host: HostContext) -> frozenset[str]:
    """The ports of machines that are moving or have moved: not to be compared with this host.

    Raises: CannotTell, where libvirt does not answer.
    """
    ports: set[str] = set()
    for uuid, move in host.journal.moves().items():
        with host.journal.locked(_lock(uuid), wait=False) as settled:
            if not (settled and host.domains.exists(uuid)):
                ports |= {port.id for port in Move.load(uuid, move).offer.ports}
    return frozenset(ports)


def _migrate(
    machine: Machine, host: HostContext, peer: Peer, report: Callable[[str], None]
) -> dict[str, str]:
    vm, offer = machine.name, _offer(machine, host)
    found = _check(offer, host, peer)
    if not found.ready:
        reasons = [found.problem, *(port.problem for port in found.ports)]
        raise Refused(
            "; ".join(reason for reason in reasons if reason),
            where=_where(vm),
            hint=f"smartvif migrate --vm {vm} --to {peer.name} --check shows each port",
        )
    host.journal.begin_move(machine.uuid, Move(to=peer.name, offer=offer).dump())
    try:
        for port in offer.ports:
            if not port.transparent:
                unplug(port.id, host)
                report(f"{port.mode} port {port.id[:8]} is detached: the guest has no link on it")
        interfaces = peer.prepare(offer)
        move = Move(to=peer.name, offer=offer, interfaces=interfaces)
        host.journal.begin_move(machine.uuid, move.dump())
        report(f"{peer.name} has the ports")
        there = _interfaces_there(offer, interfaces, host)
        host.domains.migrate(machine.uuid, peer.libvirt, there, address=found.address)
    except BaseException:
        # It may be interrupted after the machine has moved: then reconcile finishes the move.
        if host.domains.exists(machine.uuid):
            _roll_back(offer, host, peer)
        raise
    report(f"{vm} runs on {peer.name}")
    # This first: the switch here sends its packets to its old port until that is gone, or the
    # guest has been heard from the other host.
    _clean_up_source(offer, host)
    report(f"{vm} and its ports are removed here")
    failed = peer.finish(offer, interfaces)
    host.journal.end_move(machine.uuid)
    report(f"{peer.name} has taken over")
    return failed


def _settle(move: Move, host: HostContext) -> None:
    """Finish or roll back a move.

    Raises: Failed and CannotTell, where the other host cannot take over; Failed, where a port is
    not attached there, or something cannot be undone here.
    """
    offer, peer = move.offer, RemotePeer(move.to, host.settings.migration)
    if host.domains.exists(offer.uuid):
        _roll_back(offer, host, peer)
        return
    _clean_up_source(offer, host)
    failed = peer.finish(offer, dict(move.interfaces))
    host.journal.end_move(offer.uuid)
    for port, reason in failed.items():
        raise Failed(f"port {port} is not attached: {reason}", where=peer.name)


def _offer(machine: Machine, host: HostContext) -> MachineOffer:
    records = [each for each in host.journal.ports() if each.facts.vm_uuid == machine.uuid]
    return MachineOffer.of(machine.name, machine.uuid, records)


def _interfaces_there(
    offer: MachineOffer, interfaces: Mapping[str, str], host: HostContext
) -> dict[InterfaceIdentity, str]:
    """The XML there of each interface that our steps made here; the machine's others stay."""
    return {
        entry.step.identity: interfaces[port.id]
        for port in offer.ports
        if port.transparent
        for entry in host.journal.entries(port.id)
        if isinstance(entry.step, AttachedInterface)
    }


def _clean_up_source(offer: MachineOffer, host: HostContext) -> None:
    """Remove what the machine has left here."""
    for port in offer.ports:
        unplug(port.id, host)


def _roll_back(offer: MachineOffer, host: HostContext, peer: Peer) -> None:
    """Roll back the move; what cannot be undone is logged."""
    whole, again = True, "smartvif reconcile tries again"
    try:
        peer.abandon(offer)
    except SmartvifError as error:
        whole = False
        _log.error("%s may still have its ports: %s; %s", peer.name, error, again)
    for port in offer.ports:
        record = host.journal.port(port.id)
        if port.transparent or (record is not None and record.status is PortStatus.PLUGGED):
            continue
        try:
            unplug(port.id, host)
            attach(replace(port, vm=host.domains.name(offer.uuid)), host)
        except SmartvifError as error:
            whole = False
            _log.error("%s port %s is not attached again: %s; %s", port.mode, port.id, error, again)
    if whole:
        host.journal.end_move(offer.uuid)


def _lock(uuid: str) -> str:
    return f"{uuid}.moving"


def _where(vm: str) -> str:
    return f"virtual machine {vm}"
