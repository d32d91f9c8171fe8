"""Prepare a port of this host: choose its VF, build its VIF, plan its steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from smartvif.choose.selection.pool import ANYWHERE, Guest
from smartvif.choose.selection.request import DeviceRequest
from smartvif.context.host import HostContext
from smartvif.control import names
from smartvif.guest.xml import interface_xml
from smartvif.model.choices import Mode
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Port
from smartvif.model.port_spec import PortSpec
from smartvif.model.vif import Machine, PortProfile, ProfileKind, Vif, VifKind
from smartvif.operations.ports.claims import OnCandidates, claim
from smartvif.plug import port_vf
from smartvif.plug.executor import PortPlan
from smartvif.plug.plans.inputs import PortDevices, devices
from smartvif.switches import registry
from smartvif.switches.build_vif import build_vif
from smartvif.switches.device_request import device_request
from smartvif.switches.prepare import prepare_port


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPort:
    """A port with its VF claimed. ``planned`` is the host's side; ``guest_xml`` the guest's."""

    planned: PortPlan
    vf: PciAddress | None
    guest_xml: str


def claim_and_prepare(
    port: Port,
    request: PortSpec,
    machine: Machine,
    host: HostContext,
    *,
    guest: Guest = ANYWHERE,
    on_candidates: OnCandidates = lambda _: None,
) -> PreparedPort:
    """Choose and claim a VF if one is needed, and plan the port; nothing else is changed.

    The caller holds the port's lock, by ``claims.claim_synced_with_journal``.
    Raises: Invalid, NotFound, Refused (no VF is free); Conflict; CannotTell, where OVS or libvirt
    does not answer.
    """
    binding = bind_port(port, request, host)
    found = None
    if request.mode.needs_vf:
        address = claim(
            requested_device(port, binding, request), host, guest=guest, on_candidates=on_candidates
        )
        port = replace(port, vf=address)
        vf = port_vf.read(address, port.id, lambda: host.journal)
        found = devices(vf, host.drivers.representors, with_uplink=True)
    vif = _with_tap(build_vif(port, binding))
    simulated = host.drivers.switch(request.switch).simulated()
    planned = prepare_port(vif, machine, found, switch_simulated=simulated, needs=request.needs)
    return PreparedPort(planned=planned, vf=port.vf, guest_xml=_guest_xml(vif, found))


def requested_device(port: Port, binding: Binding, request: PortSpec) -> DeviceRequest:
    """The device request of the port, with what the user has chosen."""
    return replace(device_request(port, binding.vif_type), pf=request.pf, vf=request.vf)


def check_switch(request: PortSpec, host: HostContext) -> None:
    """Check that the switch, and the forwarder if one is needed, could take the port.

    Raises: Invalid, for a switch that is not installed, or for which the port says too little;
    NotFound, for the bridge; CannotTell, where one of them does not answer.
    """
    row = registry.switch(request.switch)
    row.check_fields(request)
    host.access(row).check(request, host.drivers.switch(row.name))
    if request.mode is Mode.VIRTIO_FORWARDER:
        host.drivers.need_forwarder().check_alive()


def bind_port(port: Port, request: PortSpec, host: HostContext) -> Binding:
    """The controller's answer; here we are the controller."""
    access, driver = (
        host.access(registry.switch(request.switch)),
        host.drivers.switch(request.switch),
    )
    return access.bind(port, driver, host.settings.forwarder.sockets)


def _with_tap(vif: Vif) -> Vif:
    """The VIF with a tap that we make; in a cloud libvirt makes the vRouter's tap."""
    if vif.kind is not VifKind.GENERIC:
        return vif
    return replace(vif, profile=PortProfile(kind=ProfileKind.BASE, create_tap=True))


def _guest_xml(vif: Vif, found: PortDevices | None) -> str:
    """The guest's side; in a simulation a tap, where it would have been a PCI device."""
    if vif.kind is VifKind.HOST_DEVICE and found is not None and found.vf.simulated:
        vif = _with_tap(replace(vif, kind=VifKind.GENERIC, vif_name=names.tap(vif.id)))
    return interface_xml(vif)
