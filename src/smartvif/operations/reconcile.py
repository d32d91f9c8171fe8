"""Reconcile the host: finish what was interrupted, repair what differs."""

from __future__ import annotations

from smartvif.context.host import HostContext
from smartvif.operations.migration.source import finish_migrations, migrating_ports
from smartvif.operations.ports.claims import reconcile_claims
from smartvif.plug.recover import recover


def reconcile(host: HostContext, *, dry_run: bool = False) -> dict[str, str]:
    """Undo what dead processes left half done, and mend what does not hold any more.

    A machine's move comes to its end as well, and so do claims: see chain.migrate.settle and
    chain.claim.reconcile_claims.
    Returns what was done, or with ``dry_run`` would be, for each port concerned.
    Raises: as plug.apply.recover, settle and reconcile_claims do.
    """
    settled: dict[str, str] = {}
    try:
        settled = finish_migrations(host, dry_run=dry_run)
    finally:  # a host that cannot be reached is no reason to leave the other ports
        leave = migrating_ports(host)
        mended = recover(host.journal, host.drivers, leave=leave, dry_run=dry_run)
    return reconcile_claims(host, leave=leave, dry_run=dry_run) | settled | mended
