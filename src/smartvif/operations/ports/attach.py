"""Attach a machine to a switch: the whole chain, from what is asked to what is there."""

from __future__ import annotations

from collections.abc import Callable

from smartvif.context.host import HostContext
from smartvif.model.port_spec import PortSpec
from smartvif.operations.ports import preflight, reading
from smartvif.operations.ports.claims import OnCandidates, claim_synced_with_journal
from smartvif.operations.ports.prepare import bind_port, claim_and_prepare
from smartvif.plug.executor import plug
from smartvif.plug.journal import PortRecord
from smartvif.plug.steps.step import Step


def attach(
    request: PortSpec,
    host: HostContext,
    *,
    on_step: Callable[[Step], None] = lambda _: None,
    on_candidates: OnCandidates = lambda _: None,
) -> PortRecord:
    """Attach a machine as ``request`` says, or change nothing.

    ``on_step`` is called after each step, ``on_candidates`` with every device that was considered.
    Raises: Invalid, NotFound and Refused before anything is changed; StepFailed after what was
    done has been undone; CannotTell, where OVS or libvirt does not answer.
    """
    found = reading.read(request, host)
    reading.check(request, found)
    bound = bind_port(request, found.switch)
    with claim_synced_with_journal(bound.port.id, host):
        prepared = claim_and_prepare(
            bound,
            found.machine,
            host,
            pfs=found.pfs,
            guest=found.guest,
            on_candidates=on_candidates,
        )
        if found.relay is not None and prepared.vf is not None:
            preflight.warn_of_distance(found.relay, prepared.vf)
        return plug(prepared.with_guest(), host.journal, host.drivers, on_step=on_step)
