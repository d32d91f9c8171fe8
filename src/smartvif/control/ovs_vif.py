"""The VIFs of ports on Open vSwitch, Agilio's included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from smartvif.control import names
from smartvif.control.vif_parts import (
    VifBuilder,
    flag,
    offload,
    on_bridge,
    start,
    text,
    vf,
    with_socket,
)
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import PortProfile, ProfileKind, Vif, VifKind


def tap(port: Port, binding: Binding) -> Vif:
    """A tap: on the switch, or on a Linux bridge that a veth joins to the switch."""
    profile = replace(_open_vswitch(port, binding), create_tap=flag(binding, "ovs_create_tap"))
    if flag(binding, "ovs_hybrid_plug"):
        return replace(
            _start(port, binding, VifKind.BRIDGE),
            vif_name=names.tap(port.id),
            bridge_name=names.hybrid_bridge(port.id),
            profile=profile,
        )
    vif = _start(port, binding, VifKind.OPENVSWITCH)
    return replace(
        vif,
        vif_name=names.tap(port.id),
        bridge_name=vif.network.bridge,
        # The plugin makes the port, not libvirt, so that it is there before the guest runs.
        profile=replace(profile, create_port=True),
    )


def passthrough(port: Port, binding: Binding) -> Vif:
    """The guest has the VF; the switch has the VF's representor."""
    return replace(
        _start(port, binding, VifKind.HOST_DEVICE),
        dev_address=vf(port),
        profile=_representor(port),
    )


def remote_managed(port: Port, binding: Binding) -> Vif:
    """The guest has the VF; the SmartNIC's own controller plugs the representor there."""
    started = start(port, binding, VifKind.HOST_DEVICE, "noop")
    return replace(on_bridge(started, port, binding), dev_address=vf(port))


def forwarder(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; a forwarder joins it to the VF; the switch has the representor."""
    return replace(
        with_socket(_start(port, binding, VifKind.VHOSTUSER), binding),
        vif_name=names.tap(port.id),
        profile=_representor(port),
    )


def socket(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; the switch itself is its other end."""
    started = start(port, binding, VifKind.VHOSTUSER, VifType.OVS.value)
    return replace(
        with_socket(on_bridge(started, port, binding), binding),
        vif_name=names.vhost_user(port.id),
        profile=_open_vswitch(port, binding),
    )


def fast_path_socket(port: Port, binding: Binding) -> Vif:
    """The guest has a socket; 6WIND's fast path joins it to Open vSwitch or to a Linux bridge."""
    started = start(port, binding, VifKind.VHOSTUSER, "vhostuser_fp")
    vif = with_socket(on_bridge(started, port, binding), binding)
    if flag(binding, "vhostuser_ovs_plug"):
        hybrid = flag(binding, "ovs_hybrid_plug")
        profile = replace(
            _open_vswitch(port, binding),
            kind=ProfileKind.FP_OPENVSWITCH,
            bridge_name=names.hybrid_bridge(port.id) if hybrid else vif.network.bridge,
            hybrid_plug=hybrid,
        )
    else:
        profile = PortProfile(kind=ProfileKind.FP_BRIDGE, bridge_name=vif.network.bridge)
    return replace(vif, vif_name=names.tap(port.id), profile=profile)


def _start(port: Port, binding: Binding, kind: VifKind) -> Vif:
    """The plugin is the one named after the VIF type."""
    return on_bridge(start(port, binding, kind, binding.vif_type), port, binding)


def _open_vswitch(port: Port, binding: Binding) -> PortProfile:
    return PortProfile(
        kind=ProfileKind.OPENVSWITCH,
        interface_id=port.id,
        datapath_type=text(binding, "datapath_type"),
    )


def _representor(port: Port) -> PortProfile:
    return PortProfile(
        kind=ProfileKind.OVS_REPRESENTOR, interface_id=port.id, offload=offload(port)
    )


VIFS: Mapping[tuple[str, VnicType], VifBuilder] = {
    (VifType.OVS, VnicType.NORMAL): tap,
    (VifType.OVS, VnicType.DIRECT): passthrough,
    (VifType.OVS, VnicType.VDPA): passthrough,
    (VifType.OVS, VnicType.REMOTE_MANAGED): remote_managed,
    (VifType.AGILIO_OVS, VnicType.NORMAL): tap,
    (VifType.AGILIO_OVS, VnicType.DIRECT): passthrough,
    (VifType.AGILIO_OVS, VnicType.VDPA): passthrough,
    (VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER): forwarder,
}
# The first that the details have decides.
SOCKETS: Mapping[str, VifBuilder] = {
    "vhostuser_fp_plug": fast_path_socket,
    "vhostuser_ovs_plug": socket,
}
"""For VIF type ``vhostuser``: whose socket it is, by the key of the details that says so."""
