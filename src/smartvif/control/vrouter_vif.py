"""The VIFs of ports on a vRouter.

None is on a bridge: a vRouter knows its ports by their names and its networks by their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from smartvif.control import names
from smartvif.control.vif_parts import VifBuilder, offload, start, vf, with_socket
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import PortProfile, ProfileKind, Vif, VifKind

_PLUGIN = "vrouter"


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


def _offloaded(port: Port) -> PortProfile:
    return PortProfile(kind=ProfileKind.BASE, offload=offload(port))


VIFS: Mapping[tuple[str, VnicType], VifBuilder] = {
    (VifType.VROUTER, VnicType.NORMAL): tap,
    (VifType.VROUTER, VnicType.DIRECT): passthrough,
    (VifType.VROUTER, VnicType.VIRTIO_FORWARDER): forwarder,
}
SOCKETS: Mapping[str, VifBuilder] = {"vhostuser_vrouter_plug": socket}
"""For VIF type ``vhostuser``: whose socket it is, by the key of the details that says so."""
