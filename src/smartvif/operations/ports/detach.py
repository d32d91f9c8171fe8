"""Detach a machine's port."""

from __future__ import annotations

from contextlib import suppress

from smartvif.context.host import HostContext
from smartvif.model.errors import Damaged
from smartvif.operations.ports.claims import unplug
from smartvif.plug.journal import PortRecord


def detach(name: str, host: HostContext) -> tuple[str, PortRecord | None]:
    """Undo the attachment whose identifier is or begins with ``name``.

    Returns its identifier and what it was; None where its row cannot be read.
    Raises: NotFound, Ambiguous; Failed, where something cannot be undone: the rest stays, to be
    tried again.
    """
    port = host.journal.find(name)
    record = None
    with suppress(Damaged):
        record = host.journal.port(port)
    unplug(port, host)
    return port, record
