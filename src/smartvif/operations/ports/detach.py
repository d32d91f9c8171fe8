"""Detach a machine's port, and tidy up after the dead."""

from __future__ import annotations

from smartvif.context.host import HostContext
from smartvif.operations.ports.claims import unplug
from smartvif.plug.journal import PortRecord


def detach(name: str, host: HostContext) -> PortRecord:
    """Undo the attachment whose identifier is or begins with ``name``; return what it was.

    Raises: NotFound, Ambiguous; Failed, where something cannot be undone: the rest stays, to be
    tried again.
    """
    record = host.journal.find(name)
    unplug(record.id, host)
    return record
