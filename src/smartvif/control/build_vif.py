"""The VIF for a bound port: what Nova's os_vif_util decides, and where Nova 34 is wrong, right.

One table maps ``binding:vif_type`` and the VNIC type to a VIF; what is not in it is an error
before anything is claimed or made. docs/reference/vif-table.md lists every row and every
difference from Nova.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smartvif.control import names
from smartvif.control.unsupported import unsupported
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import Offload, PortProfile, ProfileKind, SocketMode, Vif, VifKind


def build_vif(port: Port, binding: Binding) -> Vif:
    """The VIF of ``port`` as ``binding`` says it is to be attached.

    Raises: Invalid, for a VIF type or VNIC type that is not in the table, and for a missing or
    malformed bridge, VF, socket or MAC address.
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


def _normal(port: Port, binding: Binding) -> Vif:
    """A tap: on the switch, or on a Linux bridge that a veth joins to the switch."""
    profile = PortProfile(
        kind=ProfileKind.OPENVSWITCH,
        interface_id=port.id,
        datapath_type=_text(binding, "datapath_type"),
        create_tap=_flag(binding, "ovs_create_tap"),
    )
    plugin = binding.vif_type.value
    if _flag(binding, "ovs_hybrid_plug"):
        return replace(
            _start(port, binding, VifKind.BRIDGE, plugin),
            vif_name=names.tap(port.id),
            bridge_name=names.hybrid_bridge(port.id),
            profile=profile,
        )
    return replace(
        _start(port, binding, VifKind.OPENVSWITCH, plugin),
        vif_name=names.tap(port.id),
        bridge_name=_bridge(port, binding),
        # The plugin makes the port, not libvirt, so that it is there before the guest runs.
        profile=replace(profile, create_port=True),
    )


def _passthrough(port: Port, binding: Binding) -> Vif:
    """The guest has the VF; the switch has the VF's representor."""
    return replace(
        _start(port, binding, VifKind.HOST_DEVICE, binding.vif_type.value),
        dev_address=_vf(port),
        profile=_representor(port),
    )


def _remote_managed(port: Port, binding: Binding) -> Vif:
    """The guest has the VF; the SmartNIC's own controller plugs the representor there."""
    return replace(
        _start(port, binding, VifKind.HOST_DEVICE, "noop"),
        dev_address=_vf(port),
    )


def _forwarder(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; a forwarder joins it to the VF; the switch has the representor."""
    return replace(
        _with_socket(_start(port, binding, VifKind.VHOSTUSER, binding.vif_type.value), binding),
        vif_name=names.tap(port.id),
        profile=_representor(port),
    )


def _switch_socket(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; the switch itself is its other end."""
    fast_path = _flag(binding, "vhostuser_fp_plug")
    if fast_path or not _flag(binding, "vhostuser_ovs_plug"):
        raise Invalid(
            "the vhost-user port is not for Open vSwitch",
            where=f"port {port.id}",
            hint="vif_details must have vhostuser_ovs_plug, and no vhostuser_fp_plug",
        )
    return replace(
        _with_socket(_start(port, binding, VifKind.VHOSTUSER, VifType.OVS.value), binding),
        vif_name=names.vhost_user(port.id),
        profile=PortProfile(
            kind=ProfileKind.OPENVSWITCH,
            interface_id=port.id,
            datapath_type=_text(binding, "datapath_type"),
        ),
    )


def _start(port: Port, binding: Binding, kind: VifKind, plugin: str) -> Vif:
    """What every VIF has.

    The physical network has done its work when the VF was chosen, and os-vif has no field for
    it: it is left out, so that a VIF is the same whoever made it.
    """
    return Vif(
        id=port.id,
        kind=kind,
        plugin=plugin,
        address=checks.mac(port.mac),
        network=replace(port.network, bridge=_bridge(port, binding), physical_network=None),
        has_traffic_filtering=_flag(binding, "port_filter"),
    )


def _with_socket(vif: Vif, binding: Binding) -> Vif:
    path = _text(binding, "vhostuser_socket")
    if not path:
        raise Invalid(
            "the binding names no vhost-user socket",
            where=f"port {vif.id}",
            hint="vif_details must have vhostuser_socket, the path of the guest's socket",
        )
    mode = binding.details.get("vhostuser_mode", SocketMode.SERVER.value)
    try:
        return replace(vif, path=path, mode=SocketMode(str(mode)))
    except ValueError:
        raise Invalid(
            f"'{mode}' is not a vhost-user mode",
            where=f"port {vif.id}",
            hint="vhostuser_mode says what QEMU is: client or server",
        ) from None


def _representor(port: Port) -> PortProfile:
    return PortProfile(
        kind=ProfileKind.OVS_REPRESENTOR,
        interface_id=port.id,
        offload=Offload(representor_name=names.tap(port.id), representor_address=_vf(port)),
    )


def _vf(port: Port) -> str:
    if port.pci_slot is None:
        raise Invalid(
            f"no VF is claimed for a port of VNIC type '{port.vnic_type}'",
            where=f"port {port.id}",
            hint="claim one first: its address goes into pci_slot of the binding profile",
        )
    return str(PciAddress.parse(port.pci_slot))


def _bridge(port: Port, binding: Binding) -> str:
    """The controller's bridge goes before the network's."""
    bridge = _text(binding, "bridge_name") or port.network.bridge
    if bridge is None:
        raise Invalid(
            "neither the binding nor the network names a bridge",
            where=f"port {port.id}",
            hint="vif_details must have bridge_name",
        )
    return checks.ifname(bridge)


def _flag(binding: Binding, key: str) -> bool:
    return bool(binding.details.get(key, False))


def _text(binding: Binding, key: str) -> str | None:
    value = binding.details.get(key)
    return value if isinstance(value, str) else None


_BUILDERS: dict[tuple[VifType, VnicType], Callable[[Port, Binding], Vif]] = {
    (VifType.OVS, VnicType.NORMAL): _normal,
    (VifType.OVS, VnicType.DIRECT): _passthrough,
    (VifType.OVS, VnicType.VDPA): _passthrough,
    (VifType.OVS, VnicType.REMOTE_MANAGED): _remote_managed,
    (VifType.AGILIO_OVS, VnicType.NORMAL): _normal,
    (VifType.AGILIO_OVS, VnicType.DIRECT): _passthrough,
    (VifType.AGILIO_OVS, VnicType.VDPA): _passthrough,
    (VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER): _forwarder,
    (VifType.VHOSTUSER, VnicType.NORMAL): _switch_socket,
}
