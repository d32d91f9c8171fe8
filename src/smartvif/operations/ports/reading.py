"""What attach reads of the host before it changes anything, and what of it refuses a port.

Each part is read once: the switch, the machine, and of the forwarder and the NUMA nodes what the
port's mode needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smartvif.choose.selection.pool import ANYWHERE, Guest
from smartvif.context.host import HostContext
from smartvif.guest.domains import MachineReading
from smartvif.host import numa, sriov
from smartvif.host.sriov import Pf
from smartvif.model.choices import Mode
from smartvif.model.errors import Invalid, Refused
from smartvif.model.needs import NOTHING_SPECIAL
from smartvif.model.port_spec import PortSpec
from smartvif.model.vif import Machine
from smartvif.operations.ports import preflight
from smartvif.operations.ports.preflight import Readiness
from smartvif.plug.journal import PortRecord
from smartvif.switches import registry
from smartvif.switches.port_switch import PortSwitch, read_port_switch


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """What is read of the host for one port. ``relay`` is what a port behind the forwarder needs.

    ``macs`` are those of the machine's ports, where the request has one. For a port with a VF
    ``guest`` is where the machine runs, and ``pfs`` are the host's.
    """

    switch: PortSwitch
    machine: Machine
    macs: frozenset[str]
    guest: Guest
    pfs: tuple[Pf, ...]
    relay: Readiness | None


def read(request: PortSpec, host: HostContext) -> HostReading:
    """Read what ``check`` and the choice of a VF go by.

    Raises: as ``read_switch``; NotFound (machine); CannotTell, where libvirt does not answer.
    """
    switch = read_switch(request, host)
    ports = () if request.mac is None else host.journal.ports()
    found = host.domains.read(host.domains.uuid(request.vm))
    nodes = found.nodes() if request.mode.needs_vf else frozenset()
    return HostReading(
        switch=switch,
        machine=Machine(uuid=found.uuid, name=request.vm),
        macs=_macs(found.uuid, ports),
        relay=_relay(request, found, nodes, host),
        pfs=sriov.pfs() if request.mode.needs_vf else (),
        guest=Guest(nodes=nodes, sockets=numa.sockets()) if request.mode.needs_vf else ANYWHERE,
    )


def read_switch(request: PortSpec, host: HostContext) -> PortSwitch:
    """Read the port's switch; its forwarder, if it needs one, must be alive.

    Raises: Invalid, for a switch that is not installed, or for which the port says too little;
    NotFound, for the bridge; CannotTell, where one of them does not answer.
    """
    row = registry.switch(request.switch)
    row.check_fields(request)
    access = host.access(row)
    return read_port_switch(request, access, host.drivers, host.settings.forwarder.sockets)


def check(request: PortSpec, found: HostReading) -> None:
    """Check that the machine, and the forwarder if one is needed, can take the port. Pure.

    Raises: Refused, Invalid; Failed, where the host is not set up for a forwarder.
    """
    if request.mac is not None and request.mac.lower() in found.macs:
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
    if found.relay is not None:
        preflight.check(found.relay)


def _macs(machine: str, ports: Iterable[PortRecord]) -> frozenset[str]:
    """The addresses of the machine's ports.

    Interfaces of other owners may have the same: the standby of a net_failover pair.
    """
    facts = (record.facts for record in ports)
    return frozenset(each.mac for each in facts if each.vm_uuid == machine and each.mac)


def _relay(
    request: PortSpec, found: MachineReading, nodes: frozenset[int], host: HostContext
) -> Readiness | None:
    if request.mode is not Mode.VIRTIO_FORWARDER:
        return None
    return preflight.read(request.vm, found, nodes, host)
