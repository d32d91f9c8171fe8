"""How a port is to be attached to this host's switch: what Neutron's ML2 drivers decide.

One table per switch maps the VNIC type and what the switch can do to ``binding:vif_type`` and
``binding:vif_details``; the keys of the details are Neutron's (neutron-lib,
api/definitions/portbindings).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from smartvif.control import names
from smartvif.control.unsupported import unsupported
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import SocketMode

Details = dict[str, str | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSwitch:
    """What the host's Open vSwitch is and can do.

    ``vhost_user_dir`` is the directory of the guests' sockets. ``hybrid`` puts a Linux bridge
    between a tap and the switch, for packet filters. ``vhost_user`` gives normal ports a socket
    in place of a tap; only the userspace datapath has it (OVS, Documentation/topics/dpdk/
    vhost-user.rst).

    Raises: Invalid, for ``vhost_user`` on the kernel datapath.
    """

    datapath_type: Literal["system", "netdev"]
    vhost_user_dir: str
    hybrid: bool = False
    vhost_user: bool = False

    def __post_init__(self) -> None:
        if self.vhost_user and self.datapath_type != "netdev":
            raise Invalid(
                f"datapath '{self.datapath_type}' has no vhost-user ports",
                hint="use a bridge with datapath_type=netdev",
            )


def bind(port: Port, host: HostSwitch) -> Binding:
    """Bind a port to the bridge of its network.

    Raises: Invalid, for a VNIC type Open vSwitch cannot carry, a network without a bridge, or a
    path that no socket can have.
    """
    row = _OPEN_VSWITCH.get((port.vnic_type, host.vhost_user))
    if row is None:
        raise unsupported(port, "Open vSwitch")
    if port.network.bridge is None:
        raise Invalid(
            f"network {port.network.id} has no bridge",
            where=f"port {port.id}",
            hint="name the Open vSwitch bridge to attach it to",
        )
    vif_type, details = row
    common: Details = {
        "bridge_name": port.network.bridge,
        "datapath_type": host.datapath_type,
    }
    return Binding(vif_type=vif_type, details=common | details(port, host))


def _tap(port: Port, host: HostSwitch) -> Details:
    # On a hybrid bridge libvirt makes the tap, not the plugin.
    return {"ovs_hybrid_plug": True} if host.hybrid else {"ovs_create_tap": True}


def _representor(port: Port, host: HostSwitch) -> Details:
    return {}


def _switch_socket(port: Port, host: HostSwitch) -> Details:
    socket = f"{host.vhost_user_dir}/{names.vhost_user(port.id)}"
    return {"vhostuser_ovs_plug": True} | _served_by_qemu(port, socket)


def _forwarder_socket(port: Port, host: HostSwitch) -> Details:
    return _served_by_qemu(port, f"{host.vhost_user_dir}/{port.id}.sock")


def _served_by_qemu(port: Port, socket: str) -> Details:
    """The guest outlives a restart of the other end only if QEMU has the listening socket."""
    with checks.about(f"port {port.id}"):
        checks.socket_path(socket)
    return {"vhostuser_socket": socket, "vhostuser_mode": SocketMode.SERVER.value}


# (VNIC type, do normal ports get a vhost-user socket?): the VIF type and its details
_OPEN_VSWITCH: dict[
    tuple[VnicType, bool], tuple[VifType, Callable[[Port, HostSwitch], Details]]
] = {
    (VnicType.NORMAL, False): (VifType.OVS, _tap),
    (VnicType.NORMAL, True): (VifType.VHOSTUSER, _switch_socket),
    (VnicType.DIRECT, False): (VifType.OVS, _representor),
    (VnicType.DIRECT, True): (VifType.OVS, _representor),
    (VnicType.VDPA, False): (VifType.OVS, _representor),
    (VnicType.VDPA, True): (VifType.OVS, _representor),
    (VnicType.VIRTIO_FORWARDER, False): (VifType.AGILIO_OVS, _forwarder_socket),
    (VnicType.VIRTIO_FORWARDER, True): (VifType.AGILIO_OVS, _forwarder_socket),
}
