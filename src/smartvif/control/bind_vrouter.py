"""How a port is to be attached to a vRouter: what its controller decides.

One table maps the VNIC type, whether the network is a provider's segment, and which datapath the
host's vRouter has, to ``binding:vif_type`` and ``binding:vif_details``. A port that is made and a
port that is changed go through the same table, so a change never turns one attachment into another.

A network has a segment where it has a segmentation id (``Network.vlan``): its offloaded ports
bypass the vRouter, by the switch inside the NIC (hw_veb). On every other network they are the
vRouter's own, offloaded (nova-specs, stein, vrouter-hw-offloads, "Summary of plugging methods").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from smartvif.control import names
from smartvif.control.bind_ovs import Details
from smartvif.control.unsupported import unsupported
from smartvif.model import checks
from smartvif.model.errors import Ambiguous, NotFound, Refused
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import SocketMode

# How the DPDK vRouter calls a port's socket; the rest of the name is the port's.
_SOCKET = "uvh_vif_"


@dataclass(frozen=True, slots=True, kw_only=True)
class VRouterHost:
    """A host with a vRouter. ``dpdk``: its datapath is DPDK's and not the kernel's.

    ``vhost_user_dir`` is the directory of the guests' sockets.
    """

    name: str
    dpdk: bool = False
    vhost_user_dir: str = "/var/run/vrouter"


def find_host(host_id: str, hosts: Iterable[VRouterHost]) -> VRouterHost:
    """The host that a port's ``binding:host_id`` names.

    It is the one of that name, or else the only one whose short name, which ends before the first
    dot, is the same. Host names have no case (RFC 4343).

    Raises: NotFound; Ambiguous, where several hosts have the name.
    """
    known = tuple(hosts)
    for key in (str.lower, _short):
        found = [host for host in known if key(host.name) == key(host_id)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Ambiguous(
                f"'{host_id}' may be {' or '.join(host.name for host in found)}",
                where="vRouters",
                hint="bind the port to the host's full name",
            )
    raise NotFound(
        f"no vRouter is on a host '{host_id}'",
        where="vRouters",
        hint="the port's host must be one that the controller has a virtual router of",
    )


def bind_vrouter(port: Port, host: VRouterHost | None, current: Binding | None = None) -> Binding:
    """Bind a port to the vRouter of ``host``, or to none: then it is unbound.

    ``current`` is the port's binding so far, if it has one. It decides nothing of the new one,
    in which every detail is the table's, so that what an old controller left there goes. But
    a binding which is another VNIC type's is not replaced: the guest has that device, and a VF that
    is claimed for it would be lost (bugs.launchpad.net/nova/+bug/1981813). A binding does not tell
    everything: ``normal`` and ``direct`` look the same on a network without a segment.

    Raises: Invalid, for a VNIC type that the vRouter cannot carry, or a segmentation id that is
    no VLAN; Refused, for a port that is bound by another VNIC type or by another controller.
    """
    if host is None:
        return Binding(vif_type=VifType.UNBOUND)
    row = _VROUTER.get((port.vnic_type, port.network.vlan is not None, host.dpdk))
    if row is None:
        raise unsupported(port, "the vRouter")
    if current is not None and port.vnic_type not in _bound_as(current):
        raise Refused(
            f"the port is bound with vif_type '{current.vif_type}', which is not"
            f" how the vRouter binds VNIC type '{port.vnic_type}'",
            where=f"port {port.id}",
            hint="take the port from its machine, which unbinds it, and then change it",
        )
    vif_type, details = row
    common: Details = {"port_filter": True}
    return Binding(vif_type=vif_type, details=common | details(port, host))


def _bound_as(binding: Binding) -> frozenset[VnicType]:
    """The VNIC types that a port with such a binding can have, whichever host it is on.

    Controllers have bound ``virtio-forwarder`` on a segment as hw_veb and, once it was changed, as
    the vRouter's own: either is its binding, and is put right.
    """
    socket = "vhostuser_socket" in binding.details
    match binding.vif_type:
        case VifType.UNBOUND | VifType.BINDING_FAILED:
            return frozenset(VnicType)
        case VifType.VHOSTUSER if "vhostuser_vrouter_plug" in binding.details:
            return frozenset({VnicType.NORMAL})
        case VifType.HW_VEB:
            return frozenset({VnicType.DIRECT, VnicType.VIRTIO_FORWARDER})
        case VifType.VROUTER if socket:
            return frozenset({VnicType.VIRTIO_FORWARDER})
        case VifType.VROUTER:
            return frozenset({VnicType.NORMAL, VnicType.DIRECT})
        case _:
            return frozenset()


def _short(name: str) -> str:
    """The name without its domain; an address has none."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower().partition(".")[0]
    return name.lower()


def _nothing(port: Port, host: VRouterHost) -> Details:
    return {}


def _segment(port: Port, host: VRouterHost) -> Details:
    """The NIC tags the frames. Neutron says the tag as text."""
    assert port.network.vlan is not None
    with checks.about(f"port {port.id}, segmentation id"):
        return {"vlan": str(checks.vlan(port.network.vlan))}


def _socket(port: Port, host: VRouterHost) -> Details:
    """QEMU has the listening socket, so that a guest outlives a restart of the other end."""
    with checks.about(f"port {port.id}"):
        path = checks.socket_path(f"{host.vhost_user_dir}/{_SOCKET}{names.tap(port.id)}")
    return {
        "vhostuser_mode": SocketMode.SERVER.value,
        "vhostuser_socket": path,
        "vhostuser_vrouter_plug": True,
    }


_Row = tuple[VifType, Callable[[Port, VRouterHost], Details]]
_TAP: _Row = (VifType.VROUTER, _nothing)
_DPDK: _Row = (VifType.VHOSTUSER, _socket)
_OFFLOADED: _Row = (VifType.VROUTER, _nothing)
_RELAYED: _Row = (VifType.VROUTER, _socket)
_IN_NIC: _Row = (VifType.HW_VEB, _segment)

# (VNIC type, has the network a segment?, is the datapath DPDK's?): the VIF type and its details
_VROUTER: dict[tuple[VnicType, bool, bool], _Row] = {
    (VnicType.NORMAL, False, False): _TAP,
    (VnicType.NORMAL, False, True): _DPDK,
    (VnicType.NORMAL, True, False): _TAP,
    (VnicType.NORMAL, True, True): _DPDK,
    (VnicType.DIRECT, False, False): _OFFLOADED,
    (VnicType.DIRECT, False, True): _OFFLOADED,
    (VnicType.DIRECT, True, False): _IN_NIC,
    (VnicType.DIRECT, True, True): _IN_NIC,
    (VnicType.VIRTIO_FORWARDER, False, False): _RELAYED,
    (VnicType.VIRTIO_FORWARDER, False, True): _RELAYED,
    # The guest has a macvtap on the VF there, which is virtio as well.
    (VnicType.VIRTIO_FORWARDER, True, False): _IN_NIC,
    (VnicType.VIRTIO_FORWARDER, True, True): _IN_NIC,
}
