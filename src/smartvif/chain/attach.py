"""Attach a machine to a switch: the whole chain, from what is asked to what is there."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from smartvif.chain.host import Host
from smartvif.chain.request import Mode, Request
from smartvif.choose.select import select
from smartvif.control import names
from smartvif.control.bind import HostSwitch, bind
from smartvif.control.bind_vrouter import VRouterHost, bind_vrouter
from smartvif.control.build_vif import build_vif
from smartvif.guest.xml import interface_xml
from smartvif.host import facts
from smartvif.host.facts import EswitchMode, Pf, Vf
from smartvif.model.errors import CannotTell, Failed, Invalid, NotFound, Refused
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Network, Port
from smartvif.model.vif import Machine, PortProfile, ProfileKind, Vif, VifKind
from smartvif.plug.apply import plug
from smartvif.plug.case import DEFAULT_MTU, Devices, devices
from smartvif.plug.journal import PortRecord
from smartvif.plug.plan import Switch, plan
from smartvif.plug.record import port_facts
from smartvif.plug.step import Step
from smartvif.plug.steps.guest import GuestInterface

_CHOOSING = "choosing-a-vf"


def attach(
    request: Request, host: Host, *, progress: Callable[[Step], None] = lambda _: None
) -> PortRecord:
    """Attach a machine as ``request`` says, or change nothing.

    ``progress`` hears of each step when it has been taken.
    Raises: Invalid, NotFound and Refused before anything is changed; StepFailed after what was
    done has been undone; CannotTell, where OVS or libvirt does not answer.
    """
    port = _port(request)
    _examine(request, host)
    binding = _bound(port, request, host)
    # Between the choice and the claim nobody else may choose.
    with host.journal.locked(_CHOOSING):
        vf = _choose(request, host) if request.mode.needs_vf else None
        if vf is not None:
            port = replace(port, pci_slot=str(vf.address))
        vif = _with_tap(build_vif(port, binding))
        found = devices(vf, host.representors) if vf is not None else None
        machine = Machine(uuid=host.domains.uuid(request.vm), name=request.vm)
        guest = GuestInterface(domain=request.vm, mac=vif.address, xml=_guest_xml(vif, found))
        steps = (*plan(vif, machine=machine, devices=found), guest)
        known = port_facts(vif, machine, found, steps, host.world)
        vf_address = str(vf.address) if vf is not None else None
        host.journal.begin(port.id, vf=vf_address, facts=known)
    plug(port.id, steps, host.journal, host.world, vf=vf_address, facts=known, progress=progress)
    record = host.journal.port(port.id)
    assert record is not None
    return record


def _port(request: Request) -> Port:
    return Port(
        id=str(uuid.uuid4()),
        mac=request.mac or _new_mac(),
        vnic_type=request.mode.vnic_type,
        network=Network(
            id=(request.network or request.bridge or "").lower(),
            bridge=request.bridge,
            vlan=request.vlan,
            mtu=request.mtu or DEFAULT_MTU,
        ),
    )


def _bound(port: Port, request: Request, host: Host) -> Binding:
    """The controller's answer; here we are the controller."""
    sockets = host.settings.forwarder.sockets
    if request.bridge is None:
        return bind_vrouter(port, VRouterHost(name="", dpdk=False, vhost_user_dir=sockets))
    bridge = host.world.need_ovs().bridge(request.bridge)
    switch = HostSwitch(
        datapath_type="netdev" if bridge.datapath_type == "netdev" else "system",
        vhost_user_dir=sockets,
    )
    return bind(port, switch)


def _with_tap(vif: Vif) -> Vif:
    """The vRouter's tap is made by libvirt where there is a cloud; here it is ours to make."""
    if vif.kind is not VifKind.GENERIC:
        return vif
    return replace(vif, profile=PortProfile(kind=ProfileKind.BASE, create_tap=True))


def _new_mac() -> str:
    """An address in the range that QEMU's and libvirt's users take theirs from."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


def _examine(request: Request, host: Host) -> None:
    """Look at everything that can be wrong before anything is changed."""
    if request.switch is Switch.VROUTER and request.mode.needs_vf:
        host.world.need_vrouter().examine()
    taken = {interface.mac for interface in host.domains.interfaces(request.vm)}
    if request.mac is not None and request.mac.lower() in taken:
        raise Refused(
            f"it has an interface with MAC address {request.mac} already",
            where=f"virtual machine {request.vm}",
            hint="leave --mac away to have one chosen",
        )
    if request.mode is Mode.VIRTIO_FORWARDER:
        _examine_forwarder(request, host)
    if not request.mode.needs_vf and (request.vf is not None or request.pf is not None):
        raise Invalid(
            "mode normal takes no VF",
            where="--mode",
            hint="leave --vf and --pf away, or choose another mode",
        )


def _examine_forwarder(request: Request, host: Host) -> None:
    host.world.need_forwarder().ovs.bridges()
    sockets = Path(host.settings.forwarder.sockets)
    if not sockets.is_dir():
        raise Failed(
            f"the directory for the guests' sockets is not there: {sockets}",
            where="forwarder",
            hint=f"mkdir -p {sockets}, and let QEMU's user write there",
        )
    if not host.domains.shared_memory(request.vm):
        raise Refused(
            "its memory is not shared, so that a forwarder could not reach its packets",
            where=f"virtual machine {request.vm}",
            hint="add <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
            " to its XML and start it anew",
        )


def _choose(request: Request, host: Host) -> Vf:
    pfs = facts.pfs()
    return select(pfs, _taken(pfs, host), pf=request.pf, vf=request.vf)


def _taken(pfs: Sequence[Pf], host: Host) -> dict[PciAddress, str]:
    """The VFs that something has: a switch by its representor, a machine, a port of ours."""
    taken, switches = {}, {}
    with suppress(CannotTell):  # a host of the vRouter's may have no Open vSwitch
        switches = {port.name: f"bridge {port.bridge}" for port in host.world.need_ovs().ports()}
    vrouter = host.world.need_vrouter().files.netdevs()
    switches |= {netdev: f"the vRouter's port {port}" for netdev, port in vrouter.items()}
    for vf in (vf for pf in pfs if pf.eswitch is EswitchMode.SWITCHDEV for vf in pf.vfs):
        with suppress(NotFound):
            where = switches.get(host.representors.find(vf).netdev)
            if where is not None:
                taken[vf.address] = f"{where}, where its representor is"
    machines = host.domains.passed_through()
    taken |= {address: f"virtual machine {name}" for address, name in machines.items()}
    for record in host.journal.ports():
        if record.vf is not None:
            taken[PciAddress.parse(record.vf)] = f"port {record.id}"
    return taken


def _guest_xml(vif: Vif, found: Devices | None) -> str:
    """The guest's side; in a simulation a tap, where it would have been a PCI device."""
    if vif.kind is VifKind.HOST_DEVICE and found is not None and found.vf.simulated:
        vif = replace(vif, kind=VifKind.GENERIC, vif_name=names.tap(vif.id))
    return interface_xml(vif)
