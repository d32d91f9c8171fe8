"""The guest's ``<interface>``, Nova's beside ours, for every VIF that both know."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from nova import conf, objects
from nova.network import os_vif_util
from nova.virt.libvirt.vif import LibvirtGenericVIFDriver

from smartvif.guest.element import LIBVIRTS_QUEUES, Queues
from smartvif.guest.xml import interface_xml
from smartvif.model.port import VifType, VnicType
from smartvif.model.vif import Vif, VifKind
from smartvif.openstack.os_vif.convert import from_osvif
from smartvif.switches.build_vif import build_vif
from tests.support.checkout import CHECKOUT
from tests.support.nova.conversion import VF_NETDEV, nova, nova_model  # noqa: F401
from tests.support.nova.differences import Case

DOC = CHECKOUT / "docs" / "reference" / "guest-xml.md"
SOCKET = {"vhostuser_socket": "/run/vhu/guest.sock"}
VDPA_DEVICE = "/dev/vhost-vdpa-0"
PORTS: dict[str, tuple[VifType, VnicType, dict[str, Any]]] = {
    "tap": (VifType.OVS, VnicType.NORMAL, {}),
    "our tap": (VifType.OVS, VnicType.NORMAL, {"ovs_create_tap": True}),
    "hybrid": (VifType.OVS, VnicType.NORMAL, {"ovs_hybrid_plug": True}),
    "passthrough": (VifType.OVS, VnicType.DIRECT, {}),
    "vdpa": (VifType.OVS, VnicType.VDPA, {}),
    "remote-managed": (VifType.OVS, VnicType.REMOTE_MANAGED, {}),
    "agilio passthrough": (VifType.AGILIO_OVS, VnicType.DIRECT, {}),
    "agilio forwarder": (VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER, SOCKET),
    "switch's socket": (VifType.VHOSTUSER, VnicType.NORMAL, SOCKET | {"vhostuser_ovs_plug": True}),
    "fast path": (VifType.VHOSTUSER, VnicType.NORMAL, SOCKET | {"vhostuser_fp_plug": True}),
    "nobody's socket": (VifType.VHOSTUSER, VnicType.NORMAL, SOCKET),
    "client": (VifType.VHOSTUSER, VnicType.NORMAL, SOCKET | {"vhostuser_mode": "client"}),
    "vrouter tap": (VifType.VROUTER, VnicType.NORMAL, {}),
    "vrouter passthrough": (VifType.VROUTER, VnicType.DIRECT, {}),
    "vrouter forwarder": (VifType.VROUTER, VnicType.VIRTIO_FORWARDER, SOCKET),
    "VF in the NIC": (VifType.HW_VEB, VnicType.DIRECT, {"vlan": "5"}),
    "VF in the NIC, untagged": (VifType.HW_VEB, VnicType.DIRECT, {"vlan": "0"}),
    "macvtap": (VifType.HW_VEB, VnicType.MACVTAP, {"vlan": "5"}),
    "macvtap of a forwarder": (VifType.HW_VEB, VnicType.VIRTIO_FORWARDER, {"vlan": "5"}),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One port, and what its guest is to be given besides.

    ``delegated`` is whether the plugin makes the switch's port; ``emulated`` is a machine of
    libvirt's type qemu.
    """

    case: Case
    queues: Queues = LIBVIRTS_QUEUES
    delegated: bool = True
    emulated: bool = False

    def nova_model(self) -> Any:
        """Nova's own model of the port."""
        made = nova_model(self.case)
        made["delegate_create"] = self.delegated
        return made

    def vif(self) -> Vif:
        """Ours, once its host has said what only it knows."""
        if self.case.vif_type is VifType.HW_VEB:
            vif = build_vif(self.case.port(), self.case.binding())
            return replace(vif, vif_name=VF_NETDEV) if vif.kind is VifKind.GENERIC else vif
        vif = from_osvif(os_vif_util.nova_to_osvif_vif(self.nova_model()))
        if vif.profile is None:
            return vif
        # As Nova does just before it plugs.
        many = vif.profile.create_tap and (self.queues.pairs or 1) > 1
        return replace(vif, profile=replace(vif.profile, multiqueue=many))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where ours is deliberately not what Nova writes: ``mended`` makes of Nova's what ours is."""

    id: str
    example: Asked
    applies: Callable[[Asked], bool]
    mended: Callable[[ET.Element, Asked], None]


def asked(name: str, **values: Any) -> Asked:
    """One of the ports; ``values`` are of the port or of what is asked besides."""
    vif_type, vnic_type, details = PORTS[name]
    besides = {key: values.pop(key) for key in ("queues", "delegated", "emulated") if key in values}
    case = Case(vif_type=vif_type, vnic_type=vnic_type, details=details, **values)
    return Asked(case=case, **besides)


def is_tap(asked: Asked) -> bool:
    """Whether the guest has a tap."""
    return asked.case.vnic_type is VnicType.NORMAL and asked.case.vif_type in (
        VifType.OVS,
        VifType.VROUTER,
    )


def is_macvtap(asked: Asked) -> bool:
    """Whether the guest has a macvtap on the VF."""
    return asked.case.vif_type is VifType.HW_VEB and asked.case.vnic_type is not VnicType.DIRECT


def without_driver_name(interface: ET.Element, _: Asked) -> None:
    driver = interface.find("driver")
    assert driver is not None
    assert driver.attrib.pop("name") in ("vhost", "qemu")
    if not driver.attrib:
        interface.remove(driver)


def emulated(interface: ET.Element, asked: Asked) -> None:
    """Nova asks for QEMU's own queues there, and for one pair of them."""
    driver = interface.find("driver")
    if is_macvtap(asked):
        assert driver is not None
        assert driver.get("name") == "vhost"
    if asked.queues.pairs is not None:
        assert driver is None or driver.get("queues") is None
        if driver is None:
            driver = ET.SubElement(interface, "driver")
        driver.set("queues", str(asked.queues.pairs))


def reconnecting(interface: ET.Element, _: Asked) -> None:
    source = interface.find("source")
    assert source is not None
    assert len(source) == 0
    ET.SubElement(source, "reconnect", enabled="yes", timeout="1")


def trusted(interface: ET.Element, _: Asked) -> None:
    assert "trustGuestRxFilters" not in interface.attrib
    interface.set("trustGuestRxFilters", "yes")


def passed_through(interface: ET.Element, asked: Asked) -> None:
    source = interface.find("source")
    assert source is not None
    assert (interface.get("type"), source.get("dev")) == ("vdpa", VDPA_DEVICE)
    direct = nova_xml(replace(asked, case=replace(asked.case, vnic_type=VnicType.DIRECT)))
    interface.attrib.update(direct.attrib)
    interface[:] = list(direct)


def tagged(interface: ET.Element, asked: Asked) -> None:
    assert interface.find("vlan") is None
    ET.SubElement(ET.SubElement(interface, "vlan"), "tag", id=str(asked.case.vlan))


DIFFERENCES = (
    Difference(
        id="vdpa",
        example=asked("vdpa"),
        applies=lambda asked: asked.case.vnic_type is VnicType.VDPA,
        mended=passed_through,
    ),
    Difference(
        id="emulated",
        example=asked("nobody's socket", emulated=True, queues=Queues(pairs=4)),
        applies=lambda asked: (
            asked.emulated
            and asked.queues.pairs is not None
            and asked.vif().kind is not VifKind.HOST_DEVICE
        ),
        mended=emulated,
    ),
    Difference(
        id="tap-driver",
        example=asked("tap", queues=Queues(pairs=4)),
        applies=lambda asked: (
            is_tap(asked)
            and (asked.emulated or asked.queues.pairs is not None or asked.queues.rx is not None)
        ),
        mended=without_driver_name,
    ),
    Difference(
        id="reconnect",
        example=asked("client"),
        applies=lambda asked: asked.case.details.get("vhostuser_mode") == "client",
        mended=reconnecting,
    ),
    Difference(
        id="trust",
        example=asked("macvtap", trusted=True),
        applies=lambda asked: is_macvtap(asked) and asked.case.trusted,
        mended=trusted,
    ),
    Difference(
        id="libvirts-port-vlan",
        example=asked("tap", delegated=False, vlan=7),
        applies=lambda asked: (
            asked.case.vlan is not None
            and not asked.delegated
            and asked.vif().kind is VifKind.OPENVSWITCH
            and not asked.case.details.get("ovs_create_tap")
        ),
        mended=tagged,
    ),
)


class Host:
    """Nova's host, of which nothing is asked but where a vDPA device is."""

    def get_vdpa_device_path(self, pci_address: str) -> str:
        return VDPA_DEVICE


def nova_xml(asked: Asked) -> ET.Element:
    """The interface that Nova gives the guest."""
    wanted = {"hw:vif_multiqueue_enabled": "true"} if asked.queues.pairs is not None else {}
    flavor = objects.Flavor(extra_specs=wanted, vcpus=asked.queues.pairs or 1)
    image = objects.ImageMeta.from_dict({})
    kind = "qemu" if asked.emulated else "kvm"
    driver = LibvirtGenericVIFDriver(Host())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conf.CONF.libvirt, "rx_queue_size", asked.queues.rx, raising=False)
        patch.setattr(conf.CONF.libvirt, "tx_queue_size", asked.queues.tx, raising=False)
        config = driver.get_config(None, asked.nova_model(), image, flavor, kind)
    return ET.fromstring(config.to_xml())  # noqa: S314


def canonical(xml: ET.Element) -> Any:
    """An element without the order of its children, which libvirt does not mind."""
    attributes = {name: value.lower() for name, value in xml.attrib.items()}
    return xml.tag, attributes, sorted(map(canonical, xml), key=str)


def compare(asked: Asked) -> list[str]:
    """Ours equals Nova's but for the differences that apply, which are returned."""
    expected = nova_xml(asked)
    applying = [difference for difference in DIFFERENCES if difference.applies(asked)]
    for difference in applying:
        difference.mended(expected, asked)
    ours = ET.fromstring(interface_xml(asked.vif(), asked.queues))  # noqa: S314
    assert canonical(ours) == canonical(expected)
    return [difference.id for difference in applying]


def everything(name: str) -> Iterator[Asked]:
    """The port with every choice of what it and its guest may ask for besides."""
    rings = (None, None), (512, None), (None, 1024), (256, 1024)
    for mtu, vlan, trust, pairs, (rx, tx), delegated, is_emulated in product(
        (None, 1400),
        (None, 7),
        (False, True),
        (None, 4),
        rings,
        (False, True),
        (False, True),
    ):
        yield asked(
            name,
            mtu=mtu,
            vlan=vlan,
            trusted=trust,
            queues=Queues(pairs=pairs, rx=rx, tx=tx),
            delegated=delegated,
            emulated=is_emulated,
        )


@pytest.mark.parametrize("name", PORTS)
def test_every_port(name: str) -> None:
    """The guest gets from us what it gets from Nova, or what the page says instead."""
    equal = [compare(each) == [] for each in everything(name)]
    assert any(equal) is (name not in ("vdpa", "client"))


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.id)
def test_every_difference(difference: Difference) -> None:
    """Each recorded difference is true of Nova and of ours, in a case that shows it alone."""
    assert compare(difference.example) == [difference.id]


def test_the_pages_differences_are_these() -> None:
    """Every difference on the reference page is compared here, and none is compared unsaid."""
    rows = DOC.read_text().split("## Deliberate differences from Nova 34\n")[1]
    ids = re.findall(r"^\| `([a-z-]+)` \|", rows, re.MULTILINE)
    assert sorted(ids) == sorted(difference.id for difference in DIFFERENCES)
