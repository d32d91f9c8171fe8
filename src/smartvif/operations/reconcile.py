"""Reconcile the host: finish what was interrupted, repair what differs."""

from __future__ import annotations

from smartvif.context.host import HostContext
from smartvif.operations.migration.offer import Move
from smartvif.operations.migration.source import finish_migrations, migrating_ports
from smartvif.operations.ports.claims import reconcile_claims
from smartvif.operations.repair import repair_ports
from smartvif.plug.each_port import Report


def reconcile(host: HostContext, *, dry_run: bool = False) -> Report:
    """Roll back or finish interrupted operations, and repair ports that differ from their record.

    A machine's move comes to its end as well, and so do claims. Returns what was done, or with
    ``dry_run`` would be, for each port concerned, and what failed.
    Raises: CannotTell, where it is unknown which machines are moving.
    """
    moves = finish_migrations(host, dry_run=dry_run)
    leave = migrating_ports(host)
    ports = repair_ports(host.journal, host.drivers, leave=leave, dry_run=dry_run)
    return reconcile_claims(host, leave=leave, dry_run=dry_run) | moves | ports


def restore(host: HostContext, *, dry_run: bool = False) -> Report:
    """Repair attached ports as far as that needs no libvirt, as at boot, before it runs.

    Machines, interrupted operations, the ports of machines that were moving, and claims are left to
    ``reconcile``.
    Raises: Damaged, where a move cannot be read.
    """
    moves = [Move.load(vm, text) for vm, text in host.journal.moves().items()]
    leave = {port.id for move in moves for port in move.offer.ports}
    return repair_ports(host.journal, host.drivers, leave=leave, machines=False, dry_run=dry_run)
