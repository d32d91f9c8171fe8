"""Binding a port to a vRouter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.control.bind_ovs import Details
from smartvif.control.bind_vrouter import VRouterHost, bind_vrouter, find_host
from smartvif.model.errors import Ambiguous, Invalid, NotFound, Refused
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Network, Port, VifType, VnicType
from smartvif.switches.build_vif import build_vif

ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
KERNEL = VRouterHost(name="compute-1")
DPDK = VRouterHost(name="compute-2", dpdk=True)
HOSTS = [KERNEL, DPDK]

SOCKET: Details = {
    "vhostuser_mode": "server",
    "vhostuser_socket": "/var/run/vrouter/uvh_vif_tap0d9a1b2c-3e",
    "vhostuser_vrouter_plug": True,
}
TAG: Details = {"vlan": "5"}

NORMAL, DIRECT, FORWARDER = VnicType.NORMAL, VnicType.DIRECT, VnicType.VIRTIO_FORWARDER
OVERLAY, SEGMENT = None, 5
ROWS = [
    (NORMAL, OVERLAY, KERNEL, VifType.VROUTER, {}),
    (NORMAL, OVERLAY, DPDK, VifType.VHOSTUSER, SOCKET),
    (NORMAL, SEGMENT, KERNEL, VifType.VROUTER, {}),
    (NORMAL, SEGMENT, DPDK, VifType.VHOSTUSER, SOCKET),
    (DIRECT, OVERLAY, KERNEL, VifType.VROUTER, {}),
    (DIRECT, OVERLAY, DPDK, VifType.VROUTER, {}),
    (DIRECT, SEGMENT, KERNEL, VifType.HW_VEB, TAG),
    (DIRECT, SEGMENT, DPDK, VifType.HW_VEB, TAG),
    (FORWARDER, OVERLAY, KERNEL, VifType.VROUTER, SOCKET),
    (FORWARDER, OVERLAY, DPDK, VifType.VROUTER, SOCKET),
    (FORWARDER, SEGMENT, KERNEL, VifType.HW_VEB, TAG),
    (FORWARDER, SEGMENT, DPDK, VifType.HW_VEB, TAG),
]
each_row = pytest.mark.parametrize(("vnic_type", "vlan", "host", "vif_type", "details"), ROWS)


def port(vnic_type: VnicType = NORMAL, vlan: int | None = OVERLAY) -> Port:
    network = Network(id="n", vlan=vlan, physical_network="left" if vlan else None)
    return Port(
        id=ID,
        mac="52:54:00:12:34:56",
        network=network,
        vnic_type=vnic_type,
        vf=PciAddress.parse("0000:03:00.1"),
    )


@each_row
def test_each_row(
    vnic_type: VnicType, vlan: int | None, host: VRouterHost, vif_type: VifType, details: Details
) -> None:
    """Each row has its VIF type and its details, of the types that Neutron gives them."""
    bound = bind_vrouter(port(vnic_type, vlan), host)
    filtered: Details = {"port_filter": True}
    assert bound == Binding(vif_type=vif_type, details=filtered | details)
    assert {key: type(value) for key, value in bound.details.items()} == {
        key: type(value) for key, value in (filtered | details).items()
    }


@each_row
def test_a_change_is_bound_like_a_new_port(
    vnic_type: VnicType, vlan: int | None, host: VRouterHost, vif_type: VifType, details: Details
) -> None:
    """A port is bound alike when it is made, changed, changed again, moved and bound anew."""
    asked = port(vnic_type, vlan)
    made = bind_vrouter(asked, host)
    assert bind_vrouter(asked, host, made) == made
    assert bind_vrouter(asked, host, bind_vrouter(asked, host, made)) == made
    assert bind_vrouter(asked, host, Binding(vif_type=VifType.UNBOUND)) == made
    assert bind_vrouter(asked, host, Binding(vif_type=VifType.BINDING_FAILED)) == made
    for elsewhere in HOSTS:
        assert bind_vrouter(asked, host, bind_vrouter(asked, elsewhere)) == made


@each_row
def test_every_binding_has_a_vif(
    vnic_type: VnicType, vlan: int | None, host: VRouterHost, vif_type: VifType, details: Details
) -> None:
    """What the controller answers, the compute host can plug, without a bridge."""
    vif = build_vif(port(vnic_type, vlan), bind_vrouter(port(vnic_type, vlan), host))
    assert vif.network.bridge is None
    assert vif.network.vlan == vlan
    assert vif.has_traffic_filtering


@pytest.mark.parametrize("vnic_type", VnicType)
@pytest.mark.parametrize("current", [None, Binding(vif_type=VifType.HW_VEB, details=TAG)])
def test_without_a_host(vnic_type: VnicType, current: Binding | None) -> None:
    """A port of no host is unbound, whatever it was, and keeps nothing of it."""
    for vlan in (OVERLAY, SEGMENT):
        unbound = bind_vrouter(port(vnic_type, vlan), None, current)
        assert unbound == Binding(vif_type=VifType.UNBOUND, details={})


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("vlan", [OVERLAY, SEGMENT])
@pytest.mark.parametrize("vnic_type", sorted(set(VnicType) - {NORMAL, DIRECT, FORWARDER}))
def test_what_the_vrouter_cannot_carry(
    vnic_type: VnicType, vlan: int | None, host: VRouterHost
) -> None:
    """A VNIC type without a row is an error that names it and says what can be done."""
    with pytest.raises(Invalid, match=f"vRouter cannot carry VNIC type '{vnic_type}'") as caught:
        bind_vrouter(port(vnic_type, vlan), host)
    assert caught.value.hint
    assert ID in caught.value.where


@pytest.mark.parametrize("vlan", [0, 4095, -1])
def test_a_segment_that_is_no_vlan(vlan: int) -> None:
    """A segmentation id that the NIC cannot tag with is refused; the vRouter itself needs none."""
    with pytest.raises(Invalid, match="VLAN") as caught:
        bind_vrouter(port(DIRECT, vlan), KERNEL)
    assert ID in caught.value.where
    assert bind_vrouter(port(NORMAL, vlan), KERNEL).vif_type is VifType.VROUTER


def old(vif_type: VifType, **details: str | bool) -> Binding:
    return Binding(vif_type=vif_type, details=details)


PATH = str(SOCKET["vhostuser_socket"])
OLD_FORWARDER = old(
    VifType.VROUTER, vhostuser_mode="server", vhostuser_socket=PATH, vhostuser_vrouter_plug=True
)


@pytest.mark.parametrize(
    ("vnic_type", "vlan", "current"),
    [
        # An old controller made hw_veb of it, and the vRouter's own when it was changed.
        (FORWARDER, SEGMENT, OLD_FORWARDER),
        (FORWARDER, SEGMENT, old(VifType.HW_VEB, port_filter=True, vlan="5")),
        (FORWARDER, OVERLAY, old(VifType.VROUTER, vhostuser_mode="server", vhostuser_socket=PATH)),
        # An unknown host was a DPDK host to it.
        (NORMAL, OVERLAY, old(VifType.VHOSTUSER, vhostuser_vrouter_plug=True)),
        (DIRECT, OVERLAY, old(VifType.VROUTER, port_filter=True)),
        # The network got a segment, or lost it, or has another.
        (DIRECT, SEGMENT, old(VifType.VROUTER, port_filter=True)),
        (DIRECT, OVERLAY, old(VifType.HW_VEB, port_filter=True, vlan="5")),
        (DIRECT, SEGMENT, old(VifType.HW_VEB, port_filter=False, vlan="6", vhostuser_fp_plug=True)),
    ],
)
def test_an_old_binding_is_put_right(
    vnic_type: VnicType, vlan: int | None, current: Binding
) -> None:
    """Whatever was bound for the same VNIC type becomes the table's, and nothing is left of it."""
    asked = port(vnic_type, vlan)
    assert bind_vrouter(asked, KERNEL, current) == bind_vrouter(asked, KERNEL)


@pytest.mark.parametrize(
    ("vnic_type", "current"),
    [
        (DIRECT, old(VifType.VHOSTUSER, vhostuser_vrouter_plug=True)),
        (FORWARDER, old(VifType.VHOSTUSER, vhostuser_vrouter_plug=True)),
        (NORMAL, old(VifType.HW_VEB, vlan="5")),
        (NORMAL, OLD_FORWARDER),
        (DIRECT, OLD_FORWARDER),
        (FORWARDER, old(VifType.VROUTER, port_filter=True)),
        # Another controller's.
        (NORMAL, old(VifType.OVS, bridge_name="br-int")),
        (DIRECT, old(VifType.OVS, bridge_name="br-int")),
        (FORWARDER, old(VifType.AGILIO_OVS, vhostuser_socket=PATH)),
        (NORMAL, old(VifType.VHOSTUSER, vhostuser_ovs_plug=True)),
    ],
)
def test_a_bound_port_keeps_its_vnic_type(vnic_type: VnicType, current: Binding) -> None:
    """A device that a guest has is not taken for another; unbound, the port can be changed."""
    for vlan in (OVERLAY, SEGMENT):
        asked = port(vnic_type, vlan)
        with pytest.raises(Refused, match=f"'{current.vif_type}'.*'{vnic_type}'") as caught:
            bind_vrouter(asked, KERNEL, current)
        assert "unbinds" in caught.value.hint
        unbound = bind_vrouter(asked, None, current)
        assert bind_vrouter(asked, KERNEL, unbound) == bind_vrouter(asked, KERNEL)


def hosts(*names: str) -> list[VRouterHost]:
    return [VRouterHost(name=name, dpdk=bool(number)) for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("host_id", "known", "found"),
    [
        ("compute-1", ["compute-1", "compute-2"], "compute-1"),
        ("compute-2.example", ["compute-1.example", "compute-2.example"], "compute-2.example"),
        ("compute-1", ["compute-2.example", "compute-1.example"], "compute-1.example"),
        ("compute-1.example", ["compute-2", "compute-1"], "compute-1"),
        ("compute-1.old.example", ["compute-1.new.example"], "compute-1.new.example"),
        ("Compute-1", ["compute-1.EXAMPLE", "compute-10"], "compute-1.EXAMPLE"),
        ("compute-1.example", ["COMPUTE-1.example"], "COMPUTE-1.example"),
        # The full name goes before another host's short one.
        ("compute-1", ["compute-1.example", "compute-1"], "compute-1"),
        ("c.a.example", ["c.b.example", "c.a.example"], "c.a.example"),
        ("10.0.0.1", ["10.0.0.2", "10.0.0.1"], "10.0.0.1"),
    ],
)
def test_finding_a_host(host_id: str, known: list[str], found: str) -> None:
    """A host is found by its full name, or else by its short one, in either case."""
    assert find_host(host_id, hosts(*known)).name == found


@pytest.mark.parametrize(
    ("host_id", "known"),
    [
        ("compute-1", []),
        ("compute-1", ["compute-10", "compute-2", "x.compute-1.example"]),
        ("compute", ["x.compute.example", "compute-1"]),
        ("example", ["compute-1.example"]),
        ("10.0.0.1", ["10.0.0.2"]),
        ("fe80::1", ["fe80::2"]),
        ("", ["compute-1"]),
    ],
)
def test_a_host_that_is_not_known(host_id: str, known: list[str]) -> None:
    """A host is never taken for one that has a part of its name, nor for just any."""
    with pytest.raises(NotFound, match=f"'{host_id}'"):
        find_host(host_id, hosts(*known))


@pytest.mark.parametrize(
    ("host_id", "known"),
    [
        ("compute-1", ["compute-1.a.example", "compute-1.b.example"]),
        ("compute-1.c.example", ["compute-1.a.example", "compute-1"]),
        ("compute-1", ["compute-1", "COMPUTE-1"]),
    ],
)
def test_a_host_that_may_be_several(host_id: str, known: list[str]) -> None:
    """Where two hosts have the name, neither is picked, and both are named."""
    with pytest.raises(Ambiguous) as caught:
        find_host(host_id, hosts(*known))
    assert all(name in caught.value.what for name in known)


LABELS = st.sampled_from(["a", "b", "C", "10", "A"])
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)


@given(NAMES, st.lists(NAMES, unique_by=str.lower, max_size=5))
def test_the_order_of_hosts_is_no_matter(host_id: str, known: list[str]) -> None:
    """Whatever the order in which the controller lists its hosts, the answer is the same."""

    def answer(names: list[str]) -> object:
        try:
            return find_host(host_id, [VRouterHost(name=name) for name in names])
        except (NotFound, Ambiguous) as error:
            return type(error)

    assert answer(known) == answer(known[::-1])
    if host_id.lower() in map(str.lower, known):
        assert isinstance(answer(known), VRouterHost)


def test_the_socket_of_any_port() -> None:
    """A socket's name has as much of the port's id as its tap's: QEMU and the vRouter agree."""
    asked = replace(port(), id="f" * 200)
    details = bind_vrouter(asked, DPDK).details
    assert details["vhostuser_socket"] == "/var/run/vrouter/uvh_vif_tap" + "f" * 11


def test_a_directory_without_room_for_a_socket() -> None:
    """A path that no socket can have is refused before a controller is told it."""
    for directory in ("/" + "d" * 90, "relative"):
        host = replace(DPDK, vhost_user_dir=directory)
        with pytest.raises(Invalid, match="socket"):
            bind_vrouter(port(), host)
