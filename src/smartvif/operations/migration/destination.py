"""The destination's part of a migration: its ports are plugged before the machine arrives."""

from __future__ import annotations

from dataclasses import replace

from smartvif.context.host import HostContext
from smartvif.model.errors import Refused, SmartvifError
from smartvif.model.pci import PciAddress
from smartvif.model.port_spec import PortSpec
from smartvif.operations.migration.offer import DestinationCheck, MachineOffer
from smartvif.operations.ports.attach import attach
from smartvif.operations.ports.claims import claim_synced_with_journal, preview_claim, unplug
from smartvif.operations.ports.prepare import PreparedPort, bind_port, claim_and_prepare
from smartvif.operations.ports.reading import read_switch
from smartvif.plug.executor import adopt, plug
from smartvif.plug.steps.guest import AttachedInterface


def check(offer: MachineOffer, host: HostContext) -> DestinationCheck:
    """The obstacles to receiving the machine; nothing is changed.

    Raises: CannotTell, where libvirt does not answer.
    """
    problem = None
    if offer.vm in host.domains.names():
        problem = f"there is a machine called {offer.vm} already"
    elif host.domains.exists(offer.uuid):
        problem = f"it is there already, and called {host.domains.name(offer.uuid)}"
    vfs: dict[PciAddress, str] = {}
    return DestinationCheck(
        problem=problem,
        ports={port.id: _problem(port, host, vfs) for port in offer.ports},
        address=host.settings.migration.address or None,
    )


def prepare(offer: MachineOffer, host: HostContext) -> dict[str, str]:
    """Plug all ports that move with the machine, or none; returns the guest's XML of each.

    What an earlier attempt left is undone first. Raises: as abandon and attach do.
    """
    abandon(offer, host)
    made: dict[str, str] = {}
    try:
        for port in offer.ports:
            if port.transparent:
                made[port.id] = ""
                made[port.id] = _plug(port, offer, host).interface.xml
    except BaseException:
        _unplug(list(made), host)
        raise
    return made


def finish(offer: MachineOffer, interfaces: dict[str, str], host: HostContext) -> dict[str, str]:
    """Take over the machine that has arrived, and attach ports that were detached for the move.

    ``interfaces`` is what ``prepare`` returned. Idempotent. Returns the ports that could not be
    attached, each with the reason.
    """
    failed = {}
    for port in offer.ports:
        try:
            if port.transparent:
                step = AttachedInterface(
                    uuid=offer.uuid,
                    domain=offer.vm,
                    mac=port.mac or "",
                    xml=interfaces[port.id],
                )
                adopt(port.id, step, host.journal)
            elif host.journal.port(port.id) is None:
                attach(replace(port, vm=host.domains.name(offer.uuid)), host)
        except SmartvifError as error:
            failed[port.id] = str(error)
    return failed


def abandon(offer: MachineOffer, host: HostContext) -> None:
    """Roll back ``prepare``, completed or interrupted; the machine stays where it was.

    Raises: Refused, where the machine is here; Failed, where something cannot be undone.
    """
    if host.domains.exists(offer.uuid):
        raise Refused(
            f"machine {offer.vm} is here, and has these ports", where="smartvif receive abandon"
        )
    _unplug([port.id for port in offer.ports], host)


def _problem(port: PortSpec, host: HostContext, vfs: dict[PciAddress, str]) -> str | None:
    """``vfs`` are those that the ports before it would get."""
    try:
        switch = read_switch(port, host)
        # A port that an earlier attempt left releases its VF first.
        if port.mode.needs_vf and host.journal.port(port.id) is None:
            wanted = bind_port(port, switch).wanted
            assert wanted is not None  # its mode has a VF
            vfs[preview_claim(wanted, host, vfs)] = f"port {port.id}"
    except SmartvifError as error:
        return str(error)
    return None


def _plug(port: PortSpec, offer: MachineOffer, host: HostContext) -> PreparedPort:
    switch = read_switch(port, host)
    with claim_synced_with_journal(port.id, host):
        prepared = claim_and_prepare(bind_port(port, switch), offer.machine, host)
        plug(prepared.planned, host.journal, host.drivers)
    return prepared


def _unplug(ports: list[str], host: HostContext) -> None:
    for port in reversed(ports):
        unplug(port, host)
