"""Binding a port to Open vSwitch."""

from __future__ import annotations

import pytest

from smartvif.control.bind_ovs import Details, HostSwitch, bind
from smartvif.model.errors import Invalid
from smartvif.model.port import Binding, Network, Port, VifType, VnicType

ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
TAPS = HostSwitch(datapath_type="system", vhost_user_dir="/run/vhu")
HYBRID = HostSwitch(datapath_type="system", vhost_user_dir="/run/vhu", hybrid=True)
USERSPACE_TAPS = HostSwitch(datapath_type="netdev", vhost_user_dir="/run/vhu")
VHOST_USER = HostSwitch(datapath_type="netdev", vhost_user_dir="/run/vhu", vhost_user=True)

SWITCH_SOCKET: Details = {
    "vhostuser_ovs_plug": True,
    "vhostuser_socket": "/run/vhu/vhu0d9a1b2c-3e",
    "vhostuser_mode": "server",
}
FORWARDER_SOCKET: Details = {"vhostuser_socket": f"/run/vhu/{ID}.sock", "vhostuser_mode": "server"}


def port(vnic_type: VnicType, bridge: str | None = "br0") -> Port:
    return Port(
        id=ID, mac="52:54:00:12:34:56", network=Network(id="n", bridge=bridge), vnic_type=vnic_type
    )


@pytest.mark.parametrize(
    ("vnic_type", "host", "vif_type", "details"),
    [
        (VnicType.NORMAL, TAPS, VifType.OVS, {"ovs_create_tap": True}),
        (VnicType.NORMAL, USERSPACE_TAPS, VifType.OVS, {"ovs_create_tap": True}),
        (VnicType.NORMAL, HYBRID, VifType.OVS, {"ovs_hybrid_plug": True}),
        (VnicType.NORMAL, VHOST_USER, VifType.VHOSTUSER, SWITCH_SOCKET),
        (VnicType.DIRECT, TAPS, VifType.OVS, {}),
        (VnicType.DIRECT, HYBRID, VifType.OVS, {}),
        (VnicType.DIRECT, VHOST_USER, VifType.OVS, {}),
        (VnicType.VDPA, TAPS, VifType.OVS, {}),
        (VnicType.VDPA, VHOST_USER, VifType.OVS, {}),
        (VnicType.VIRTIO_FORWARDER, TAPS, VifType.AGILIO_OVS, FORWARDER_SOCKET),
        (VnicType.VIRTIO_FORWARDER, VHOST_USER, VifType.AGILIO_OVS, FORWARDER_SOCKET),
    ],
)
def test_each_row(
    vnic_type: VnicType, host: HostSwitch, vif_type: VifType, details: Details
) -> None:
    """A VNIC type on a host gives one VIF type, and the bridge's name and datapath besides."""
    common: Details = {"bridge_name": "br0", "datapath_type": host.datapath_type}
    assert bind(port(vnic_type), host) == Binding(vif_type=vif_type, details=common | details)


@pytest.mark.parametrize("host", [TAPS, VHOST_USER], ids=["taps", "vhost-user"])
@pytest.mark.parametrize(
    "vnic_type",
    sorted(
        set(VnicType) - {VnicType.NORMAL, VnicType.DIRECT, VnicType.VDPA, VnicType.VIRTIO_FORWARDER}
    ),
)
def test_what_open_vswitch_cannot_carry(vnic_type: VnicType, host: HostSwitch) -> None:
    """A VNIC type without a row is an error that names it and says what can be done."""
    with pytest.raises(Invalid, match=f"cannot carry VNIC type '{vnic_type}'") as caught:
        bind(port(vnic_type), host)
    assert caught.value.hint
    assert ID in caught.value.where


def test_a_network_without_a_bridge() -> None:
    """A bridge is never guessed."""
    with pytest.raises(Invalid, match="has no bridge"):
        bind(port(VnicType.NORMAL, bridge=None), TAPS)


def test_the_kernel_datapath_has_no_vhost_user_ports() -> None:
    """A host that cannot be is refused before any port is bound to it."""
    with pytest.raises(Invalid, match="no vhost-user"):
        HostSwitch(datapath_type="system", vhost_user_dir="/run/vhu", vhost_user=True)


def test_the_longest_socket_path() -> None:
    """A path may fill a socket address, and not be a byte longer."""
    room = 107 - len(f"/{ID}.sock")
    longest = HostSwitch(datapath_type="system", vhost_user_dir="/" + "d" * (room - 1))
    details = bind(port(VnicType.VIRTIO_FORWARDER), longest).details
    assert len(str(details["vhostuser_socket"])) == 107
    too_long = HostSwitch(datapath_type="system", vhost_user_dir="/" + "d" * room)
    with pytest.raises(Invalid, match="too long for a socket"):
        bind(port(VnicType.VIRTIO_FORWARDER), too_long)
