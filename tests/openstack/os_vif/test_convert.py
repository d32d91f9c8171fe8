"""Real os-vif objects as our values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import os_vif
import pytest
from os_vif.objects import fixed_ip as osv_ip
from os_vif.objects import network as osv_network
from os_vif.objects import subnet as osv_subnet
from os_vif.objects import vif as osv

from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network
from smartvif.model.vif import Offload, PortProfile, ProfileKind, SocketMode, Vif, VifKind
from smartvif.openstack.os_vif.convert import from_osvif

ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
NET = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"
MAC = "52:54:00:12:34:56"
VF = "0000:af:00.1"


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    """The objects are registered as Nova registers them."""
    os_vif.initialize()


def made(cls: Any, **fields: Any) -> Any:
    common = {"id": ID, "address": MAC, "plugin": "vrouter"}
    return cls(**common | {"network": osv_network.Network(id=NET)} | fields)


def value(kind: VifKind, **fields: Any) -> Vif:
    common: dict[str, Any] = {"id": ID, "plugin": "vrouter", "address": MAC}
    return Vif(kind=kind, **common | {"network": Network(id=NET)} | fields)


def offload(name: str | None = "rep0", address: str | None = VF) -> Any:
    return osv.DatapathOffloadRepresentor(representor_name=name, representor_address=address)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (lambda: made(osv.VIFGeneric), value(VifKind.GENERIC)),
        (
            lambda: made(osv.VIFGeneric, vif_name="tap0", has_traffic_filtering=True),
            value(VifKind.GENERIC, vif_name="tap0", has_traffic_filtering=True),
        ),
        (
            lambda: made(osv.VIFBridge, vif_name="tap0", bridge_name="qbr0"),
            value(VifKind.BRIDGE, vif_name="tap0", bridge_name="qbr0"),
        ),
        (
            lambda: made(osv.VIFOpenVSwitch, vif_name="tap0", bridge_name="br0"),
            value(VifKind.OPENVSWITCH, vif_name="tap0", bridge_name="br0"),
        ),
        (
            lambda: made(osv.VIFVHostUser, vif_name="vhu0", path="/run/s", mode="client"),
            value(VifKind.VHOSTUSER, vif_name="vhu0", path="/run/s", mode=SocketMode.CLIENT),
        ),
        (
            lambda: made(osv.VIFHostDevice, dev_address=VF.upper(), dev_type="ethernet"),
            value(VifKind.HOST_DEVICE, dev_address=PciAddress.parse(VF)),
        ),
    ],
)
def test_each_class(obj: Callable[[], Any], expected: Vif) -> None:
    """Each class gives its kind, and a field that nobody set gives the default."""
    assert from_osvif(obj()) == expected


def test_a_network_in_full() -> None:
    """The bridge, the tag and the MTU are kept; an MTU of 0 is none."""
    network = osv_network.Network(id=NET, bridge="br0", vlan=5, mtu=9000)
    converted = from_osvif(made(osv.VIFGeneric, network=network)).network
    assert converted == Network(id=NET, bridge="br0", vlan=5, mtu=9000)
    network.mtu = 0
    assert from_osvif(made(osv.VIFGeneric, network=network)).network.mtu is None


def subnet(*addresses: str) -> Any:
    """A subnet in which the port has these addresses, each with a floating one before it."""
    ips = [osv_ip.FixedIP(address=address, floating_ips=["203.0.113.9"]) for address in addresses]
    return osv_subnet.Subnet(ips=osv_ip.FixedIPList(objects=ips))


@pytest.mark.parametrize(
    ("subnets", "expected"),
    [
        ([], ()),
        ([subnet("10.0.0.5")], ("10.0.0.5",)),
        ([subnet()], ()),
        ([osv_subnet.Subnet()], ()),
        (
            [subnet("10.0.0.5", "10.0.0.4"), subnet(), subnet("FD00:0::5"), subnet("10.0.1.5")],
            ("10.0.0.5", "10.0.0.4", "fd00::5", "10.0.1.5"),
        ),
    ],
)
def test_the_fixed_ips(subnets: list[Any], expected: tuple[str, ...]) -> None:
    """Every address of every subnet is kept, in order, and none is asked for where none is."""
    listed = osv_subnet.SubnetList(objects=subnets)
    network = osv_network.Network(id=NET, subnets=listed)
    assert from_osvif(made(osv.VIFGeneric, network=network)).fixed_ips == expected


@pytest.mark.parametrize("subnets", [osv_subnet.SubnetList(), None])
def test_no_fixed_ips(subnets: Any) -> None:
    """A list of subnets that nobody filled, or nobody made, holds no address."""
    network = osv_network.Network(id=NET)
    if subnets is not None:
        network.subnets = subnets
    assert from_osvif(made(osv.VIFGeneric, network=network)).fixed_ips == ()


def test_the_fast_path_profiles() -> None:
    """6WIND's profiles keep their bridge, and whether it is a hybrid one."""
    profile: Any = osv.VIFPortProfileFPOpenVSwitch(
        interface_id=ID, datapath_type="netdev", bridge_name="qbr0", hybrid_plug=True
    )
    assert from_osvif(made(osv.VIFVHostUser, port_profile=profile)).profile == PortProfile(
        kind=ProfileKind.FP_OPENVSWITCH,
        interface_id=ID,
        datapath_type="netdev",
        bridge_name="qbr0",
        hybrid_plug=True,
    )
    profile = osv.VIFPortProfileFPBridge(bridge_name="brq0")
    assert from_osvif(made(osv.VIFVHostUser, port_profile=profile)).profile == PortProfile(
        kind=ProfileKind.FP_BRIDGE, bridge_name="brq0"
    )


def test_the_open_vswitch_profile() -> None:
    """All that the plugin needs for a tap on Open vSwitch is kept."""
    profile = osv.VIFPortProfileOpenVSwitch(
        interface_id=ID, datapath_type="netdev", create_port=True, create_tap=True, multiqueue=True
    )
    assert from_osvif(made(osv.VIFOpenVSwitch, port_profile=profile)).profile == PortProfile(
        kind=ProfileKind.OPENVSWITCH,
        interface_id=ID,
        datapath_type="netdev",
        create_port=True,
        create_tap=True,
        multiqueue=True,
    )


@pytest.mark.parametrize(
    ("cls", "kind"),
    [
        (osv.VIFPortProfileBase, ProfileKind.BASE),
        (osv.VIFPortProfileOpenVSwitch, ProfileKind.OPENVSWITCH),
        (osv.VIFPortProfileOVSRepresentor, ProfileKind.OVS_REPRESENTOR),
        (osv.VIFPortProfileFPOpenVSwitch, ProfileKind.FP_OPENVSWITCH),
        (osv.VIFPortProfileFPBridge, ProfileKind.FP_BRIDGE),
    ],
)
def test_an_offload_in_each_profile(cls: Any, kind: ProfileKind) -> None:
    """Each profile may carry an offload, or say that it has none, or be silent."""
    obj = made(osv.VIFHostDevice, port_profile=cls(datapath_offload=offload()))
    both = Offload(representor_name="rep0", representor_address=PciAddress.parse(VF))
    assert from_osvif(obj).profile == PortProfile(kind=kind, offload=both)
    for silent in (cls(), cls(datapath_offload=None)):
        obj = made(osv.VIFHostDevice, port_profile=silent)
        assert from_osvif(obj).profile == PortProfile(kind=kind)


def test_an_empty_offload_is_an_offload() -> None:
    """An offload whose fields are unset still says that the port is offloaded."""
    profile = osv.VIFPortProfileBase(datapath_offload=osv.DatapathOffloadRepresentor())
    converted = from_osvif(made(osv.VIFHostDevice, port_profile=profile)).profile
    assert converted is not None
    assert converted.offload == Offload()


def test_the_old_fields_alone() -> None:
    """The deprecated profile's own fields are the offload where there is no other."""
    profile = osv.VIFPortProfileOVSRepresentor(representor_name="rep0", representor_address=VF)
    converted = from_osvif(made(osv.VIFHostDevice, port_profile=profile)).profile
    assert converted is not None
    assert converted.offload == Offload(
        representor_name="rep0", representor_address=PciAddress.parse(VF)
    )


def test_the_old_fields_beside_equal_new_ones() -> None:
    """Saying the same twice is fine, in either case of the address."""
    profile = osv.VIFPortProfileOVSRepresentor(
        representor_name="rep0",
        representor_address=VF,
        datapath_offload=offload(address=VF.upper()),
    )
    converted = from_osvif(made(osv.VIFHostDevice, port_profile=profile)).profile
    assert converted is not None
    assert converted.offload == Offload(
        representor_name="rep0", representor_address=PciAddress.parse(VF)
    )


@pytest.mark.parametrize(
    "old",
    [
        {"representor_name": "rep1"},
        {"representor_address": "0000:af:00.2"},
        {"representor_name": "rep0", "representor_address": "0000:af:00.2"},
    ],
)
def test_the_old_fields_beside_other_new_ones(old: dict[str, str]) -> None:
    """A profile that names two representors is refused: either might be another guest's."""
    profile = osv.VIFPortProfileOVSRepresentor(datapath_offload=offload(), **old)
    with pytest.raises(Invalid, match="the port profile says") as caught:
        from_osvif(made(osv.VIFHostDevice, port_profile=profile))
    assert ID in caught.value.where


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (lambda: made(osv.VIFDirect), "VIFDirect"),
        (lambda: made(osv.VIFNestedDPDK), "VIFNestedDPDK"),
        (lambda: made(osv.VIFHostDevice, dev_type="generic"), "generic"),
        (
            lambda: made(osv.VIFVHostUser, port_profile=osv.VIFPortProfileFPTap()),
            "VIFPortProfileFPTap",
        ),
        (
            lambda: made(
                osv.VIFHostDevice,
                port_profile=osv.VIFPortProfileBase(datapath_offload=osv.DatapathOffloadBase()),
            ),
            "DatapathOffloadBase",
        ),
        (
            lambda: made(
                osv.VIFHostDevice,
                port_profile=osv.VIFPortProfileBase(datapath_offload=offload(address="pf0vf1")),
            ),
            "not a PCI address",
        ),
        (lambda: made(osv.VIFGeneric, address=None), "no address"),
        (lambda: made(osv.VIFGeneric, network=None), "no network"),
        (lambda: osv.VIFGeneric(id=ID, plugin="vrouter"), "no address"),
    ],
)
def test_what_is_not_plugged(obj: Callable[[], Any], message: str) -> None:
    """What cannot be plugged is an error that names it."""
    with pytest.raises(Invalid, match=message):
        from_osvif(obj())


def test_no_openstack_import() -> None:
    """The adapter reads objects by their fields, so it costs no import of OpenStack."""
    import subprocess
    import sys

    heavy = "{'nova', 'os_vif', 'oslo_versionedobjects'} & {name for name in sys.modules}"
    script = f"import sys, smartvif.openstack.os_vif.convert; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
