"""Attach a machine to a switch: the whole chain, from what is asked to what is there."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace

from smartvif.choose.selection.pool import ANYWHERE
from smartvif.context.host import HostContext
from smartvif.model import checks
from smartvif.model.choices import Mode
from smartvif.model.errors import Invalid, Refused
from smartvif.model.needs import NOTHING_SPECIAL
from smartvif.model.port import Network, Port
from smartvif.model.port_spec import PortSpec
from smartvif.model.vif import Machine
from smartvif.operations.ports import preflight
from smartvif.operations.ports.claims import OnCandidates, claim_synced_with_journal
from smartvif.operations.ports.inventory import guest_location
from smartvif.operations.ports.prepare import check_switch, claim_and_prepare
from smartvif.plug.executor import plug
from smartvif.plug.journal import PortRecord
from smartvif.plug.plans.inputs import DEFAULT_MTU
from smartvif.plug.steps.guest import AttachedInterface
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
    port = port_from(request)
    _check(request, host)
    ready = preflight.read(request.vm, host) if request.mode is Mode.VIRTIO_FORWARDER else None
    if ready is not None:
        preflight.check(ready)
    machine = Machine(uuid=host.domains.uuid(request.vm), name=request.vm)
    near = guest_location(request.vm, host) if request.mode.needs_vf else ANYWHERE
    with claim_synced_with_journal(port.id, host):
        prepared = claim_and_prepare(
            port, request, machine, host, guest=near, on_candidates=on_candidates
        )
        if ready is not None and prepared.vf is not None:
            preflight.warn_of_distance(ready, prepared.vf)
        interface = AttachedInterface(
            uuid=machine.uuid, domain=machine.name, mac=port.mac, xml=prepared.guest_xml
        )
        planned = replace(prepared.planned, plan=(*prepared.planned.plan, interface))
        return plug(planned, host.journal, host.drivers, on_step=on_step)


def port_from(request: PortSpec) -> Port:
    """The port that is asked for, with what was left to be chosen."""
    network = checks.uuid(request.network) if request.network is not None else request.bridge
    return Port(
        id=request.id or str(uuid.uuid4()),
        mac=request.mac or _new_mac(),
        vnic_type=request.mode.vnic_type,
        network=Network(
            id=network or "",
            bridge=request.bridge,
            physical_network=request.needs.physical_network,
            vlan=request.vlan,
            mtu=request.mtu or DEFAULT_MTU,
        ),
        needs=request.needs,
    )


def _new_mac() -> str:
    """An address in the range that QEMU's and libvirt's users take theirs from."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


def _check(request: PortSpec, host: HostContext) -> None:
    """Check all that can be checked before anything is changed."""
    check_switch(request, host)
    # An interface of another owner may have the same address: the standby of a net_failover pair.
    uuid = host.domains.uuid(request.vm)
    ports = [each.facts for each in host.journal.ports() if each.facts.vm_uuid == uuid]
    if request.mac is not None and request.mac.lower() in {facts.mac for facts in ports}:
        raise Refused(
            f"it has a port with MAC address {request.mac} already",
            where=f"virtual machine {request.vm}",
            hint="leave --mac away to have one chosen",
        )
    asked = request.vf is not None or request.pf is not None or request.needs != NOTHING_SPECIAL
    if asked and not request.mode.needs_vf:
        raise Invalid(
            "mode normal takes no VF",
            where="--mode",
            hint="leave away what is asked of a VF, or choose another mode",
        )
