"""The VIFs of ports on a vRouter, and of those that bypass it by the switch inside the NIC.

None is on a bridge: a vRouter knows its ports by their names and its networks by their ids.
"""

from __future__ import annotations

from dataclasses import replace

from smartvif.control import names
from smartvif.control.vif_parts import offload, start, vf, with_socket
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.port import Binding, Port, VifType
from smartvif.model.vif import PortProfile, ProfileKind, Vif, VifKind

_PLUGIN = "vrouter"
_NO_PLUGIN = VifType.HW_VEB.value  # no plugin is called that, and Nova makes no object for one


def tap(port: Port, binding: Binding) -> Vif:
    """A tap, which libvirt makes when the guest starts."""
    return replace(
        start(port, binding, VifKind.GENERIC, _PLUGIN),
        vif_name=names.tap(port.id),
    )


def passthrough(port: Port, binding: Binding) -> Vif:
    """The guest has the VF; the vRouter has the VF's representor."""
    return replace(
        start(port, binding, VifKind.HOST_DEVICE, _PLUGIN),
        dev_address=vf(port),
        profile=_offloaded(port),
    )


def forwarder(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; a forwarder joins it to the VF; the vRouter has the representor."""
    return replace(
        with_socket(start(port, binding, VifKind.VHOSTUSER, _PLUGIN), binding),
        vif_name=names.tap(port.id),
        profile=_offloaded(port),
    )


def socket(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; the DPDK vRouter itself is its other end."""
    return replace(
        with_socket(start(port, binding, VifKind.VHOSTUSER, "contrail_vrouter"), binding),
        vif_name=names.tap(port.id),
    )


def in_nic(port: Port, binding: Binding) -> Vif:
    """The guest has the VF, whose frames the NIC tags and switches.

    Nobody plugs it, and os-vif has no object for it: libvirt programs the NIC by its XML.
    """
    started = start(port, binding, VifKind.HOST_DEVICE, _NO_PLUGIN)
    return replace(_tagged(started, binding), dev_address=vf(port))


def macvtap_in_nic(port: Port, binding: Binding) -> Vif:
    """The guest has virtio, and a macvtap joins it to the VF.

    ``vif_name`` is left for the name of the VF's netdev, which only its host knows.
    """
    started = start(port, binding, VifKind.GENERIC, _NO_PLUGIN)
    return replace(_tagged(started, binding), dev_address=vf(port))


def _tagged(vif: Vif, binding: Binding) -> Vif:
    """Neutron says the tag as text; '0' is a flat network's (neutron, mech_sriov)."""
    tag = str(binding.details.get("vlan", ""))
    if not (tag.isascii() and tag.isdecimal()):
        raise Invalid(
            f"'{tag}' is not the tag of a VLAN" if tag else "the binding names no VLAN",
            where=f"port {vif.id}",
            hint="vif_details must have vlan, a number; 0 is a network without a tag",
        )
    with checks.about(f"port {vif.id}"):
        vlan = int(tag) and checks.vlan(int(tag))
    return replace(vif, network=replace(vif.network, vlan=vlan))


def _offloaded(port: Port) -> PortProfile:
    return PortProfile(kind=ProfileKind.BASE, offload=offload(port))
