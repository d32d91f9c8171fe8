"""Where a port goes on this host: its VF, its VIF, its steps. What an attachment begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from smartvif.chain import allow_list
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
from smartvif.model.errors import CannotTell, NotFound
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Port
from smartvif.model.vif import Machine, PortProfile, ProfileKind, Vif, VifKind
from smartvif.plug.case import Devices, devices
from smartvif.plug.plan import plan
from smartvif.plug.record import port_facts
from smartvif.plug.step import Plan

_CHOOSING = "choosing-a-vf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A port with its VF claimed. ``steps`` are the host's; ``guest_xml`` is the guest's side."""

    vif: Vif
    vf: str | None
    steps: Plan
    guest_xml: str
    facts: dict[str, Any]


def place(port: Port, request: Request, machine: Machine, host: Host) -> Placement:
    """Choose and claim a VF if one is needed, and plan the port; nothing else is changed.

    Raises: Invalid, NotFound, Refused (no VF is free); CannotTell, where OVS or libvirt does not
    answer.
    """
    binding = _bound(port, request, host)
    # Between the choice and the claim nobody else may choose.
    with host.journal.locked(_CHOOSING):
        vf = free_vf(request, host) if request.mode.needs_vf else None
        if vf is not None:
            port = replace(port, pci_slot=str(vf.address))
        vif = _with_tap(build_vif(port, binding))
        relayed = request.mode is Mode.VIRTIO_FORWARDER
        found = devices(vf, host.representors, relayed=relayed) if vf is not None else None
        steps = plan(vif, machine=machine, devices=found)
        placed = Placement(
            vif=vif,
            vf=port.pci_slot,
            steps=steps,
            guest_xml=_guest_xml(vif, found),
            facts=port_facts(vif, machine, found, steps, host.world),
        )
        host.journal.begin(port.id, vf=placed.vf, facts=placed.facts)
    return placed


def examine_switch(request: Request, host: Host) -> None:
    """See whether the switch, and the forwarder if one is needed, could take the port.

    Raises: NotFound, for the bridge; CannotTell, where one of them does not answer.
    """
    if request.bridge is not None:
        host.world.need_ovs().bridge(request.bridge)
    elif request.mode.needs_vf:
        host.world.need_vrouter().examine()
    if request.mode is Mode.VIRTIO_FORWARDER:
        host.world.need_forwarder().confirm()


def free_vf(request: Request, host: Host, besides: Mapping[PciAddress, str] | None = None) -> Vf:
    """The VF that the port would get, were those ``besides`` taken as well, by whom it says.

    Raises: Refused, NotFound; CannotTell.
    """
    pfs = facts.pfs()
    taken = {**_taken(pfs, host), **(besides or {})}
    allowed = allow_list.allowed(host.settings.pci.device_spec)
    return select(pfs, taken, pf=request.pf, vf=request.vf, allowed=allowed)


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
        vif = _with_tap(replace(vif, kind=VifKind.GENERIC, vif_name=names.tap(vif.id)))
    return interface_xml(vif)
