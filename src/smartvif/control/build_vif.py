"""The VIF for a bound port: what Nova's os_vif_util decides, and where Nova 34 is wrong, right.

One table maps ``binding:vif_type`` and the VNIC type to a VIF; what is not in it is an error
before anything is claimed or made. docs/reference/vif-table.md lists every row and every
difference from Nova.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smartvif.control import names, ovs_vif, vrouter_vif
from smartvif.control.unsupported import unsupported
from smartvif.control.vif_parts import flag, start, with_socket
from smartvif.model.errors import Invalid
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import Vif, VifKind

_Builder = Callable[[Port, Binding], Vif]


def build_vif(port: Port, binding: Binding) -> Vif:
    """The VIF of ``port`` as ``binding`` says it is to be attached.

    Raises: Invalid, for a VIF type or VNIC type that is not in the table, and for a missing or
    malformed bridge, VF, socket, VLAN, MAC or IP address.
    """
    builder = _BUILDERS.get((binding.vif_type, port.vnic_type))
    if builder is not None:
        return builder(port, binding)
    if any(vif_type is binding.vif_type for vif_type, _ in _BUILDERS):
        raise unsupported(port, f"vif_type '{binding.vif_type}'")
    raise Invalid(
        f"there is no VIF for vif_type '{binding.vif_type}'",
        where=f"port {port.id}",
        hint="see whether the port is bound, and by which controller",
    )


def _socket(port: Port, binding: Binding) -> Vif:
    """A socket of the switch that the details name."""
    builder = next((builder for key, builder in _SOCKETS if flag(binding, key)), _external_socket)
    return builder(port, binding)


def _external_socket(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; its other end is made by somebody else."""
    return replace(
        with_socket(start(port, binding, VifKind.VHOSTUSER, "noop"), binding),
        vif_name=names.tap(port.id),
    )


# The first that the details have decides.
_SOCKETS: tuple[tuple[str, _Builder], ...] = (
    ("vhostuser_fp_plug", ovs_vif.fast_path_socket),
    ("vhostuser_ovs_plug", ovs_vif.socket),
    ("vhostuser_vrouter_plug", vrouter_vif.socket),
)

_BUILDERS: dict[tuple[VifType, VnicType], _Builder] = {
    (VifType.OVS, VnicType.NORMAL): ovs_vif.tap,
    (VifType.OVS, VnicType.DIRECT): ovs_vif.passthrough,
    (VifType.OVS, VnicType.VDPA): ovs_vif.passthrough,
    (VifType.OVS, VnicType.REMOTE_MANAGED): ovs_vif.remote_managed,
    (VifType.AGILIO_OVS, VnicType.NORMAL): ovs_vif.tap,
    (VifType.AGILIO_OVS, VnicType.DIRECT): ovs_vif.passthrough,
    (VifType.AGILIO_OVS, VnicType.VDPA): ovs_vif.passthrough,
    (VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER): ovs_vif.forwarder,
    (VifType.VROUTER, VnicType.NORMAL): vrouter_vif.tap,
    (VifType.VROUTER, VnicType.DIRECT): vrouter_vif.passthrough,
    (VifType.VROUTER, VnicType.VIRTIO_FORWARDER): vrouter_vif.forwarder,
    (VifType.VHOSTUSER, VnicType.NORMAL): _socket,
    (VifType.HW_VEB, VnicType.DIRECT): vrouter_vif.in_nic,
    (VifType.HW_VEB, VnicType.MACVTAP): vrouter_vif.macvtap_in_nic,
    (VifType.HW_VEB, VnicType.VIRTIO_FORWARDER): vrouter_vif.macvtap_in_nic,
}
