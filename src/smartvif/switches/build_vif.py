"""The VIF for a bound port: what Nova's os_vif_util decides, with Nova 34's mistakes corrected.

One table for each switch maps ``binding:vif_type`` and the VNIC type to a VIF; what is in none
is an error before anything is claimed or made. docs/reference/vif-table.md lists every row and
every difference from Nova.
"""

from __future__ import annotations

from dataclasses import replace

from smartvif.control import names
from smartvif.control.unsupported import unsupported
from smartvif.control.vif_parts import VifBuilder, flag, start, with_socket
from smartvif.model.errors import Invalid
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import PortProfile, ProfileKind, Vif, VifKind
from smartvif.plug.plans.inputs import PortDevices
from smartvif.switches import registry


def build_vif(port: Port, binding: Binding) -> Vif:
    """The VIF of ``port`` as ``binding`` says it is to be attached.

    Raises: Invalid, for a VIF type or VNIC type that is in no switch's table, and for a missing or
    malformed bridge, VF, socket, VLAN, MAC or IP address.
    """
    builder = _builder(port, binding)
    if builder is None:
        raise unsupported(port, f"vif_type '{binding.vif_type}'")
    return builder(port, binding)


def with_tap(vif: Vif) -> Vif:
    """The VIF with a tap that we make; in a cloud libvirt makes the vRouter's tap."""
    if vif.kind is not VifKind.GENERIC:
        return vif
    return replace(vif, profile=PortProfile(kind=ProfileKind.BASE, create_tap=True))


def for_guest(vif: Vif, found: PortDevices | None) -> Vif:
    """The VIF that the guest has: of a simulated VF the tap that stands in for the PCI device."""
    if vif.kind is VifKind.HOST_DEVICE and found is not None and found.vf.simulated:
        return with_tap(replace(vif, kind=VifKind.GENERIC, vif_name=names.tap(vif.id)))
    return vif


def _builder(port: Port, binding: Binding) -> VifBuilder | None:
    if binding.vif_type == VifType.VHOSTUSER:
        return _socket(binding) if port.vnic_type is VnicType.NORMAL else None
    row = registry.of_vif_type(binding.vif_type)
    if row is None:
        raise Invalid(
            f"there is no VIF for vif_type '{binding.vif_type}'",
            where=f"port {port.id}",
            hint="check that the port is bound, and by which controller",
        )
    return row.vifs().get((binding.vif_type, port.vnic_type))


def _socket(binding: Binding) -> VifBuilder:
    """A socket of the switch that the details name; else its other end is not a switch's."""
    row = registry.of_socket(key for key in binding.details if flag(binding, key))
    if row is None:
        return _external_socket
    return next(builder for key, builder in row.sockets().items() if flag(binding, key))


def _external_socket(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; another program makes its other end."""
    return replace(
        with_socket(start(port, binding, VifKind.VHOSTUSER, "noop"), binding),
        vif_name=names.tap(port.id),
    )
