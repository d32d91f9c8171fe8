"""The VIF of a bound port, row by row, and each deliberate difference from Nova."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from smartvif.control.bind_ovs import HostSwitch, bind
from smartvif.model.errors import Invalid
from smartvif.model.needs import Needs
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Network, Port, VifType, VnicType
from smartvif.model.vif import Offload, PortProfile, ProfileKind, SocketMode, Vif, VifKind
from smartvif.switches.build_vif import build_vif
from tests.support.checkout import CHECKOUT

DOC = CHECKOUT / "docs" / "reference" / "vif-table.md"

ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
VF = PciAddress.parse("0000:03:00.1")
OTHER = PciAddress.parse("0000:af:00.1")
SOCKET = "/run/vhu/guest.sock"
AGILIO, VHOSTUSER = VifType.AGILIO_OVS, VifType.VHOSTUSER
VROUTER, HW_VEB = VifType.VROUTER, VifType.HW_VEB
Details = dict[str, str | bool]


def section(title: str) -> list[list[str]]:
    """The cells of the table below a heading of the reference page."""
    text = DOC.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def port(vnic_type: VnicType = VnicType.NORMAL, **changes: object) -> Port:
    made = Port(
        id=ID,
        mac="52:54:00:12:34:56",
        network=Network(id="n", bridge="br-int", physical_network="left", vlan=5, mtu=1450),
        vnic_type=vnic_type,
        vf=VF,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def binding(vif_type: VifType = VifType.OVS, **details: str | bool) -> Binding:
    given: Details = {"vhostuser_socket": SOCKET, "vhostuser_ovs_plug": True, "vlan": "5"}
    return Binding(vif_type=vif_type, details=given | details)


def without(key: str, vif_type: VifType) -> Binding:
    made = binding(vif_type)
    return replace(made, details={k: v for k, v in made.details.items() if k != key})


def test_each_row_of_the_page() -> None:
    """The class, plugin, name and profile in the reference page are what a port gets."""
    rows = section("From binding to VIF")
    for vif_type, vnic_type, condition, kind, plugin, name, profile in rows:
        keys = re.findall(r"`(\w+)`", condition)
        said: Details = {"vhostuser_socket": SOCKET, "vlan": "7"}
        details: Details = {key: said.get(key, True) for key in keys}
        bound = Binding(vif_type=VifType(vif_type.strip("`")), details=details)
        vif = build_vif(port(VnicType(vnic_type.strip("`"))), bound)
        assert vif.kind == kind.strip("`")
        assert vif.plugin == plugin.strip("`")
        wanted = None if name == "-" else name.strip("`") + ID[:11]
        assert vif.vif_name == wanted
        kinds = {
            "-": None,
            "Open vSwitch": ProfileKind.OPENVSWITCH,
            "Representor": ProfileKind.OVS_REPRESENTOR,
            "offload": ProfileKind.BASE,
            "fast path OVS": ProfileKind.FP_OPENVSWITCH,
            "fast path bridge": ProfileKind.FP_BRIDGE,
        }
        assert (vif.profile.kind if vif.profile else None) == kinds[profile]
        offloaded = vif.profile is not None and vif.profile.offload is not None
        assert offloaded == (profile in {"Representor", "offload"})
        on_bridge = vif.plugin in {"ovs", "agilio_ovs", "vhostuser_fp"} or "remote" in vnic_type
        assert vif.network.bridge == ("br-int" if on_bridge else None)
        assert vif.network.vlan == (7 if "vlan" in keys else 5)


def test_every_pair_that_is_not_on_the_page_is_an_error() -> None:
    """There is no row that the page does not show."""
    shown = {(row[0].strip("`"), row[1].strip("`")) for row in section("From binding to VIF")}
    for vif_type in VifType:
        for vnic_type in VnicType:
            if (vif_type, vnic_type) in shown:
                build_vif(port(vnic_type), binding(vif_type))
            else:
                with pytest.raises(Invalid) as caught:
                    build_vif(port(vnic_type), binding(vif_type))
                assert caught.value.hint
                assert ID in caught.value.where


def test_a_tap_in_full() -> None:
    """A normal port is a tap and a port on the bridge, both made by the plugin if so bound."""
    bound = Binding(
        vif_type=VifType.OVS,
        details={"datapath_type": "netdev", "ovs_create_tap": True, "port_filter": True},
    )
    assert build_vif(port(), bound) == Vif(
        id=ID,
        kind=VifKind.OPENVSWITCH,
        plugin="ovs",
        address="52:54:00:12:34:56",
        network=Network(id="n", bridge="br-int", vlan=5, mtu=1450),
        vif_name="tap0d9a1b2c-3e",
        bridge_name="br-int",
        profile=PortProfile(
            kind=ProfileKind.OPENVSWITCH,
            interface_id=ID,
            datapath_type="netdev",
            create_port=True,
            create_tap=True,
        ),
        has_traffic_filtering=True,
        trusted=False,
    )


def test_a_forwarder_in_full() -> None:
    """A virtio-forwarder port has both a socket for the guest and a VF for the switch."""
    vif = build_vif(port(VnicType.VIRTIO_FORWARDER), binding(VifType.AGILIO_OVS))
    assert vif == Vif(
        id=ID,
        kind=VifKind.VHOSTUSER,
        plugin="agilio_ovs",
        address="52:54:00:12:34:56",
        network=Network(id="n", bridge="br-int", vlan=5, mtu=1450),
        vif_name="tap0d9a1b2c-3e",
        path=SOCKET,
        mode=SocketMode.SERVER,
        profile=PortProfile(
            kind=ProfileKind.OVS_REPRESENTOR,
            interface_id=ID,
            offload=Offload(representor_name="tap0d9a1b2c-3e", representor_address=VF),
        ),
        trusted=False,
    )


def test_a_passed_through_vf() -> None:
    """A direct port gives the VF to the guest and its representor to the switch."""
    vif = build_vif(port(VnicType.DIRECT, vf=OTHER), binding())
    assert vif.dev_address == OTHER
    assert vif.profile is not None
    assert vif.profile.offload == Offload(
        representor_name="tap0d9a1b2c-3e", representor_address=OTHER
    )


def test_the_hybrid_bridge() -> None:
    """A hybrid VIF goes to a Linux bridge of its own, and the switch's bridge stays known."""
    vif = build_vif(port(), binding(ovs_hybrid_plug=True))
    assert vif.bridge_name == "qbr0d9a1b2c-3e"
    assert vif.network.bridge == "br-int"


def test_the_controllers_bridge_goes_first() -> None:
    """The binding's bridge is used where the network names another."""
    vif = build_vif(port(), binding(bridge_name="br-left"))
    assert vif.bridge_name == vif.network.bridge == "br-left"


@pytest.mark.parametrize("mode", list(SocketMode))
def test_the_socket_mode_is_the_controllers(mode: SocketMode) -> None:
    """QEMU is at the end of the socket that the binding says."""
    bound = binding(VifType.AGILIO_OVS, vhostuser_mode=mode.value)
    assert build_vif(port(VnicType.VIRTIO_FORWARDER), bound).mode is mode


@pytest.mark.parametrize(
    ("plugs", "plugin"),
    [
        ("fp ovs vrouter", "vhostuser_fp"),
        ("fp vrouter", "vhostuser_fp"),
        ("ovs vrouter", "ovs"),
        ("vrouter", "contrail_vrouter"),
        ("", "noop"),
    ],
)
def test_whose_a_socket_is(plugs: str, plugin: str) -> None:
    """Of several switches that a binding names, one has the socket; a false one is not named."""
    flags: Details = {
        f"vhostuser_{switch}_plug": switch in plugs.split() for switch in ("fp", "ovs", "vrouter")
    }
    vif = build_vif(port(), binding(VHOSTUSER, **flags))
    assert (vif.plugin, vif.path, vif.mode) == (plugin, SOCKET, SocketMode.SERVER)


@pytest.mark.parametrize(
    ("hybrid", "bridge"), [(False, "br-left"), (True, "qbr0d9a1b2c-3e")], ids=["plain", "hybrid"]
)
def test_a_fast_path_on_open_vswitch(hybrid: bool, bridge: str) -> None:
    """6WIND's plugin learns which bridge to make the port on, and whether it is a Linux bridge."""
    bound = binding(
        VHOSTUSER,
        vhostuser_fp_plug=True,
        ovs_hybrid_plug=hybrid,
        bridge_name="br-left",
        datapath_type="netdev",
    )
    assert build_vif(port(), bound).profile == PortProfile(
        kind=ProfileKind.FP_OPENVSWITCH,
        interface_id=ID,
        datapath_type="netdev",
        bridge_name=bridge,
        hybrid_plug=hybrid,
    )


def test_a_fast_path_on_a_linux_bridge() -> None:
    """Without Open vSwitch the bridge is a Linux bridge, whatever else the details say."""
    bound = binding(
        VHOSTUSER, vhostuser_fp_plug=True, vhostuser_ovs_plug=False, ovs_hybrid_plug=True
    )
    profile = PortProfile(kind=ProfileKind.FP_BRIDGE, bridge_name="br-int")
    assert build_vif(port(), bound).profile == profile


def test_an_offloaded_vrouter_port_in_full() -> None:
    """The guest has the VF, the vRouter its representor; there is no bridge, nor a VIF name."""
    offload = Offload(representor_name="tap0d9a1b2c-3e", representor_address=VF)
    network = Network(id="n", vlan=5, mtu=1450)
    profile = PortProfile(kind=ProfileKind.BASE, offload=offload)
    direct = Vif(
        id=ID,
        kind=VifKind.HOST_DEVICE,
        plugin="vrouter",
        address="52:54:00:12:34:56",
        network=network,
        dev_address=VF,
        profile=profile,
        has_traffic_filtering=True,
        trusted=False,
    )
    asked = port(VnicType.DIRECT, network=replace(network, physical_network="left"))
    assert build_vif(asked, binding(VROUTER, port_filter=True)) == direct
    relayed = build_vif(
        replace(asked, vnic_type=VnicType.VIRTIO_FORWARDER), binding(VROUTER, port_filter=True)
    )
    assert relayed == replace(
        direct,
        kind=VifKind.VHOSTUSER,
        dev_address=None,
        vif_name="tap0d9a1b2c-3e",
        path=SOCKET,
        mode=SocketMode.SERVER,
    )


@pytest.mark.parametrize("vnic_type", [VnicType.DIRECT, VnicType.MACVTAP])
@pytest.mark.parametrize(("text", "vlan"), [("0", 0), ("1", 1), ("4094", 4094)])
def test_the_nics_own_vlan(vnic_type: VnicType, text: str, vlan: int) -> None:
    """The tag is the binding's, which Neutron says as text, and 0 where the network has none."""
    vif = build_vif(port(vnic_type), binding(HW_VEB, vlan=text))
    assert vif.network == Network(id="n", vlan=vlan, mtu=1450)
    assert (vif.dev_address, vif.profile, vif.vif_name) == (VF, None, None)


BOUND_PAIRS = [(row[0].strip("`"), row[1].strip("`")) for row in section("From binding to VIF")]


@pytest.mark.parametrize(("vif_type", "vnic_type"), sorted(set(BOUND_PAIRS)))
def test_what_every_vif_has_of_its_port(vif_type: str, vnic_type: str) -> None:
    """Trust and addresses come from the port, each address in its one spelling."""
    asked = port(
        VnicType(vnic_type),
        fixed_ips=("10.0.0.5", "FD00:0::5", "10.0.0.4"),
        needs=Needs(trusted=True),
    )
    vif = build_vif(asked, binding(VifType(vif_type)))
    assert vif.fixed_ips == ("10.0.0.5", "fd00::5", "10.0.0.4")
    assert vif.trusted
    plain = build_vif(port(VnicType(vnic_type)), binding(VifType(vif_type)))
    assert (plain.fixed_ips, plain.trusted) == ((), False)


def test_a_bridge_name_the_kernel_does_not_take() -> None:
    """A bridge's name is never shortened into another's."""
    with pytest.raises(Invalid, match="not a network interface name"):
        build_vif(port(), binding(bridge_name="b" * 16))


@pytest.mark.parametrize("vhost_user", [False, True])
@pytest.mark.parametrize(
    "vnic_type",
    [VnicType.NORMAL, VnicType.DIRECT, VnicType.VDPA, VnicType.VIRTIO_FORWARDER],
)
def test_what_is_bound_here_can_be_built(vnic_type: VnicType, vhost_user: bool) -> None:
    """Each binding that our own controller gives has a VIF."""
    host = HostSwitch(datapath_type="netdev", vhost_user_dir="/run/vhu", vhost_user=vhost_user)
    vif = build_vif(port(vnic_type), bind(port(vnic_type), host))
    assert vif.network.bridge == "br-int"


FOREIGN = (
    VnicType.MACVTAP,
    VnicType.DIRECT_PHYSICAL,
    VnicType.ACCELERATOR_DIRECT,
    VnicType.ACCELERATOR_DIRECT_PHYSICAL,
)
BARE_METAL = (VnicType.BAREMETAL, VnicType.SMART_NIC)
CANNOT = "cannot carry VNIC type"
DIRECT, FORWARDER = port(VnicType.DIRECT), port(VnicType.VIRTIO_FORWARDER)
NO_BRIDGE = port(network=Network(id="n"))

REFUSED: dict[str, tuple[str, list[tuple[Port, Binding]]]] = {
    "ovs-forwarder": (CANNOT, [(FORWARDER, binding())]),
    "ovs-passthrough": (CANNOT, [(port(vnic_type), binding()) for vnic_type in FOREIGN]),
    "ovs-bare-metal": (CANNOT, [(port(vnic_type), binding()) for vnic_type in BARE_METAL]),
    "agilio-remote-managed": (CANNOT, [(port(VnicType.REMOTE_MANAGED), binding(AGILIO))]),
    "agilio-unsupported": (
        CANNOT,
        [(port(vnic_type), binding(AGILIO)) for vnic_type in FOREIGN + BARE_METAL],
    ),
    "vhostuser-vnic": (
        CANNOT,
        [
            (port(vnic_type), binding(VHOSTUSER))
            for vnic_type in VnicType
            if vnic_type is not VnicType.NORMAL
        ],
    ),
    "vrouter-unsupported": (
        CANNOT,
        [
            (port(vnic_type), binding(VROUTER))
            for vnic_type in VnicType
            if vnic_type not in {VnicType.NORMAL, VnicType.DIRECT, VnicType.VIRTIO_FORWARDER}
        ],
    ),
    "hw-veb-vnic": (
        CANNOT,
        [
            (port(vnic_type), binding(HW_VEB))
            for vnic_type in VnicType
            if vnic_type not in {VnicType.DIRECT, VnicType.MACVTAP, VnicType.VIRTIO_FORWARDER}
        ],
    ),
    "hw-veb-no-vlan": (
        "names no VLAN",
        [(DIRECT, without("vlan", HW_VEB)), (FORWARDER, without("vlan", HW_VEB))],
    ),
    "hw-veb-bad-vlan": (
        "VLAN",
        [
            (DIRECT, binding(HW_VEB, vlan=vlan))
            for vlan in ("", "untagged", "-1", "4095", "5.0", " 5", "\u0665", True)
        ],
    ),
    "unbound": (
        "there is no VIF",
        [(port(), Binding(vif_type=t)) for t in (VifType.UNBOUND, VifType.BINDING_FAILED)],
    ),
    "no-pci-slot": (
        "no VF is claimed",
        [
            (replace(asked, vf=None), binding(vif_type))
            for asked, vif_type in (
                (DIRECT, VifType.OVS),
                (DIRECT, VROUTER),
                (FORWARDER, VROUTER),
                (DIRECT, HW_VEB),
                (FORWARDER, HW_VEB),
            )
        ],
    ),
    "no-profile": ("no VF is claimed", [(replace(FORWARDER, vf=None), binding(AGILIO))]),
    "no-socket": (
        "vhostuser_socket",
        [
            (FORWARDER, without("vhostuser_socket", AGILIO)),
            (FORWARDER, binding(AGILIO, vhostuser_socket="")),
            (FORWARDER, without("vhostuser_socket", VROUTER)),
            (port(), without("vhostuser_socket", VHOSTUSER)),
        ],
    ),
    "bad-socket": (
        "socket",
        [
            (asked, binding(vif_type, vhostuser_socket=path))
            for asked, vif_type in ((FORWARDER, AGILIO), (FORWARDER, VROUTER), (port(), VHOSTUSER))
            for path in ("vhu/guest.sock", "/run/" + "d" * 103, "/run/a\0b")
        ],
    ),
    "bad-socket-mode": (
        "not a vhost-user mode",
        [
            (FORWARDER, binding(AGILIO, vhostuser_mode="listen")),
            (port(), binding(VHOSTUSER, vhostuser_mode="Server")),
        ],
    ),
    "no-bridge": ("names a bridge", [(NO_BRIDGE, binding()), (NO_BRIDGE, binding(VHOSTUSER))]),
    "bad-ip": (
        "not an IP address",
        [(port(fixed_ips=(ip,)), binding()) for ip in ("10.0.0.300", "10.0.0.1/24", "")],
    ),
    "multicast-mac": ("multicast", [(port(mac="01:00:5e:00:00:01"), binding())]),
}


@pytest.mark.parametrize("difference", REFUSED)
def test_each_refusal_that_nova_does_not_make_so(difference: str) -> None:
    """Where Nova gives the wrong VIF or an error nobody can read, ours is an error with a hint."""
    message, cases = REFUSED[difference]
    for asked, bound in cases:
        with pytest.raises(Invalid, match=message) as caught:
            build_vif(asked, bound)
        assert caught.value.hint


UNREADABLE = {
    "bad-pci-slot": ("", "03:00.1", "0000:03:20.1", "0000:03:00.8"),
    "unchecked-pci-slot": ("enp3s0f0v1", "0000:03:00.1 "),
}


@pytest.mark.parametrize("difference", UNREADABLE)
def test_each_pci_slot_that_is_none(difference: str) -> None:
    """No port can be asked for with a VF that is no PCI address, whatever would come of it."""
    for text in UNREADABLE[difference]:
        with pytest.raises(Invalid, match="not a PCI address") as caught:
            replace(DIRECT, vf=PciAddress.parse(text))
        assert caught.value.hint


def agilio_normal() -> None:
    """A tap of the Agilio switch is plugged by its own plugin."""
    assert build_vif(port(), binding(AGILIO)) == replace(
        build_vif(port(), binding()), plugin="agilio_ovs"
    )


def agilio_vdpa() -> None:
    """A vDPA device on the Agilio switch is plugged by its own plugin."""
    vdpa = port(VnicType.VDPA)
    assert build_vif(vdpa, binding(AGILIO)) == replace(
        build_vif(vdpa, binding()), plugin="agilio_ovs"
    )


def wide_pci_domain() -> None:
    """A VF behind Intel VMD is a VF."""
    vif = build_vif(replace(DIRECT, vf=PciAddress.parse("10000:03:00.1")), binding())
    assert str(vif.dev_address) == "10000:03:00.1"


def long_bridge() -> None:
    """A bridge's name is used whole."""
    assert build_vif(port(), binding(bridge_name="b" * 15)).bridge_name == "b" * 15


def ip_order() -> None:
    """The addresses stay in the port's order."""
    asked = port(fixed_ips=("10.0.0.5", "10.0.1.5", "10.0.0.6"))
    assert build_vif(asked, binding()).fixed_ips == asked.fixed_ips


BUILT = {
    "ip-order": ip_order,
    "agilio-normal": agilio_normal,
    "agilio-vdpa": agilio_vdpa,
    "wide-pci-domain": wide_pci_domain,
    "long-bridge": long_bridge,
}


@pytest.mark.parametrize("difference", BUILT)
def test_each_vif_that_nova_does_not_make_so(difference: str) -> None:
    """Where Nova gives the wrong VIF or none, ours gives the right one."""
    BUILT[difference]()


def test_every_difference_on_the_page_is_tested_here() -> None:
    """The page's list of differences and the one in this module are the same."""
    ids = [row[0].strip("`") for row in section("Deliberate differences from Nova 34")]
    assert sorted(ids) == sorted([*REFUSED, *UNREADABLE, *BUILT])
