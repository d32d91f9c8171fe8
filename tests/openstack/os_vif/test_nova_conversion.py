"""Nova's own conversion, from Neutron's port to the os-vif object, beside ours.

Nova's real code runs on both halves of its way: ``API._build_vif_model`` makes its model of a
port, ``nova_to_osvif_vif`` the object. Of hw_veb Nova makes no object but libvirt's XML at once;
there the XML is compared. Only what would ask Neutron over HTTP is stood in for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any
from xml.etree import ElementTree as ET

import os_vif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nova import objects
from nova.network import os_vif_util
from nova.virt.libvirt.vif import LibvirtGenericVIFDriver
from os_vif.objects import vif as osv

from smartvif.guest.xml import interface_xml
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import VifType, VnicType
from smartvif.model.vif import Vif, VifKind
from smartvif.openstack.os_vif.convert import from_osvif
from smartvif.switches.build_vif import build_vif
from tests.support.checkout import CHECKOUT
from tests.support.nova.conversion import VF_NETDEV, nova, nova_model  # noqa: F401
from tests.support.nova.differences import (
    BAD_IP,
    BAD_SLOTS,
    BAD_SOCKETS,
    BAD_VLANS,
    DIFFERENCES,
    FORMED_BAD_SLOTS,
    LONG_BRIDGE,
    WIDE_SLOTS,
    Case,
    unchecked_slot,
)

DOC = CHECKOUT / "docs" / "reference" / "vif-table.md"
EXAMPLES = 2000
SOUND_PAIRS = [
    (VifType.OVS, VnicType.NORMAL),
    (VifType.OVS, VnicType.DIRECT),
    (VifType.OVS, VnicType.VDPA),
    (VifType.OVS, VnicType.REMOTE_MANAGED),
    (VifType.AGILIO_OVS, VnicType.DIRECT),
    (VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER),
    (VifType.VHOSTUSER, VnicType.NORMAL),
    (VifType.VROUTER, VnicType.NORMAL),
    (VifType.VROUTER, VnicType.DIRECT),
    (VifType.VROUTER, VnicType.VIRTIO_FORWARDER),
    (VifType.HW_VEB, VnicType.DIRECT),
    (VifType.HW_VEB, VnicType.MACVTAP),
    (VifType.HW_VEB, VnicType.VIRTIO_FORWARDER),
]
PLUGS = ("vhostuser_fp_plug", "vhostuser_ovs_plug", "vhostuser_vrouter_plug")


def nova_xml(vif: Any) -> ET.Element:
    """The interface that Nova gives the guest."""
    flavor = objects.Flavor(extra_specs={}, vcpus=1)
    image = objects.ImageMeta.from_dict({})
    config = LibvirtGenericVIFDriver().get_config(None, vif, image, flavor, "kvm")
    return ET.fromstring(config.to_xml())  # noqa: S314  (Nova's own)


def nova_gives(case: Case) -> Vif:
    """The VIF of Nova's os-vif object for the port; where it makes none, of its XML."""
    vif = nova_model(case)
    made = os_vif_util.nova_to_osvif_vif(vif)
    if made is None:
        return read_xml(nova_xml(vif), vif)
    if not unchecked_slot(case):
        return from_osvif(made)
    # os-vif holds any text there, and ours does not.
    offload = made.port_profile.datapath_offload
    slot, offload.representor_address = offload.representor_address, "0000:03:00.1"
    read = from_osvif(made)
    assert read.profile is not None
    assert read.profile.offload is not None
    said = replace(read.profile.offload, representor_address=address(slot))
    return replace(read, profile=replace(read.profile, offload=said))


def address(slot: str) -> Any:
    """The PCI address; a text that is none as it is, which equals nothing of ours."""
    try:
        return PciAddress.parse(slot)
    except Invalid:
        return slot


def read_xml(xml: ET.Element, vif: Any) -> Vif:
    """The VIF that Nova's interface of hw_veb is of; what XML does not say is the model's."""
    read = from_osvif(os_vif_util._get_vif_instance(vif, osv.VIFGeneric, plugin="hw_veb"))
    tag = xml.find("vlan/tag")
    vlan: Any = None if tag is None else tag.attrib["id"]
    if vlan is not None and vlan.isdecimal():
        vlan = int(vlan)
    kinds = {"hostdev": VifKind.HOST_DEVICE, "direct": VifKind.GENERIC}
    return replace(
        read,
        kind=kinds[xml.attrib["type"]],
        dev_address=address(vif["profile"]["pci_slot"]),
        network=replace(read.network, vlan=vlan),
    )


def canonical(xml: ET.Element) -> Any:
    """An element without the order of its children, which libvirt does not mind."""
    attributes = {name: value.lower() for name, value in xml.attrib.items()}
    return xml.tag, attributes, sorted(map(canonical, xml), key=str)


def same_xml(ours: Vif, case: Case) -> bool:
    """Whether the guest gets the same interface from us as from Nova."""
    # What is said of trust is compared in test_guest_xml_nova.
    on_host = replace(ours, trusted=None)
    if ours.kind is VifKind.GENERIC:
        on_host = replace(on_host, vif_name=VF_NETDEV)
    mine = ET.fromstring(interface_xml(on_host))  # noqa: S314  (ours)
    return bool(canonical(mine) == canonical(nova_xml(nova_model(case))))


def compare(case: Case) -> bool:
    """Ours equals Nova's, but for the differences that apply, which are as recorded.

    Returns: whether none applies, so that the two are wholly equal.
    """
    applying = [difference for difference in DIFFERENCES if difference.applies(case)]
    raising = [difference for difference in applying if difference.nova_raises]
    if raising:
        with pytest.raises(Exception, match=raising[0].nova_says) as nova_error:
            nova_gives(case)
        assert type(nova_error.value).__name__ == raising[0].nova_raises
    else:
        theirs = nova_gives(case)
        for difference in applying:
            assert difference.nova_gives(theirs, case), difference.id

    refusals = [difference.refused for difference in applying if difference.refused]
    if refusals:
        with pytest.raises(Invalid) as our_error:
            build_vif(case.port(), case.binding())
        assert any(refusal in str(our_error.value) for refusal in refusals)
        assert our_error.value.hint
        return False
    mended = case
    for difference in applying:
        mended = difference.mended(mended)
    expected = nova_gives(mended)
    for difference in applying:
        expected = difference.corrected(expected, case)
    ours = build_vif(case.port(), case.binding())
    # os-vif has no word for trust.
    assert ours == replace(expected, trusted=case.trusted)
    assert case.vif_type is not VifType.HW_VEB or same_xml(ours, case)
    return not applying


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Bound ports of every VIF type and VNIC type, most of them sound."""

    def mostly(good: st.SearchStrategy[Any], *bad: Any) -> Any:
        return draw(st.sampled_from(bad)) if draw(st.integers(1, 20)) == 13 else draw(good)

    any_pair = st.tuples(st.sampled_from(VifType), st.sampled_from(VnicType))
    vif_type, vnic_type = draw(st.sampled_from(SOUND_PAIRS) | any_pair)
    absent = st.none()
    hexadecimal = st.integers(0, 255).map("{:02x}".format)
    unicast = hexadecimal.filter(lambda byte: int(byte, 16) & 1 == 0)
    tail = ":".join(draw(st.tuples(*[hexadecimal] * 5)))
    slot = st.from_regex(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]", fullmatch=True)
    details = {
        "bridge_name": mostly(
            absent | st.from_regex(r"br-[a-z0-9]{1,11}", fullmatch=True), LONG_BRIDGE
        ),
        "datapath_type": draw(absent | st.sampled_from(["system", "netdev"])),
        "ovs_hybrid_plug": draw(absent | st.booleans()),
        "ovs_create_tap": draw(absent | st.booleans()),
        "port_filter": draw(absent | st.booleans()),
        "physical_network": draw(absent | st.just("details")),
        "vhostuser_mode": mostly(absent | st.sampled_from(["client", "server"]), "listen", ""),
        "vhostuser_socket": mostly(
            st.from_regex(r"/run/[a-z]{1,20}", fullmatch=True), None, "", *BAD_SOCKETS
        ),
        "vlan": mostly(st.integers(0, 4094).map(str), None, *BAD_VLANS),
    } | {key: draw(absent | st.booleans()) for key in PLUGS}
    bad_slots = FORMED_BAD_SLOTS if vif_type is VifType.HW_VEB else BAD_SLOTS
    hosts = st.integers(1, 254)
    v4 = st.builds("10.0.{}.{}".format, st.integers(0, 2), hosts)
    v6 = st.builds("fd00:0:0:{}::{:x}".format, st.integers(1, 2), hosts)
    addresses = st.lists(v4 | v6, unique=True, max_size=4)
    grouped = addresses.map(sorted)
    return Case(
        vif_type=vif_type,
        vnic_type=vnic_type,
        details={key: value for key, value in details.items() if value is not None},
        port_id=str(draw(st.uuids())),
        mac=f"{mostly(unicast.filter(lambda b: b != '00'), '01', '33', 'FF')}:{tail}",
        pci_slot=mostly(slot, None, *bad_slots, *WIDE_SLOTS),
        profile=mostly(st.just(True), False),
        network_bridge=mostly(st.just(True), False),
        physical_network=draw(absent | st.sampled_from(["left", "right"])),
        vlan=draw(absent | st.integers(1, 4094)),
        mtu=draw(absent | st.integers(68, 65535)),
        fixed_ips=tuple(mostly(grouped, draw(addresses), [BAD_IP])),
        trusted=draw(st.booleans()),
    )


def test_every_bound_port() -> None:
    """For any bound port ours is Nova's VIF, or differs from it as the page says."""
    equal: list[bool] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(cases())
    def each(case: Case) -> None:
        equal.append(compare(case))

    each()
    assert equal.count(True) > 500
    assert equal.count(False) > 500


@pytest.mark.parametrize("vnic_type", VnicType)
@pytest.mark.parametrize("vif_type", VifType)
@pytest.mark.parametrize("hybrid", [False, True])
def test_every_pair(vif_type: VifType, vnic_type: VnicType, hybrid: bool) -> None:
    """No pair of VIF type and VNIC type is left to chance."""
    details = {
        "vhostuser_ovs_plug": True,
        "vhostuser_socket": "/run/vhu/guest.sock",
        "ovs_hybrid_plug": hybrid,
        "vlan": "5",
    }
    compare(Case(vif_type=vif_type, vnic_type=vnic_type, details=details))


@pytest.mark.parametrize("vnic_type", VnicType)
@pytest.mark.parametrize("plugs", product([None, False, True], repeat=3), ids=str)
@pytest.mark.parametrize("hybrid", [False, True])
def test_every_socket(plugs: tuple[bool | None, ...], vnic_type: VnicType, hybrid: bool) -> None:
    """No combination of what says whose a socket is is left to chance."""
    flags = {key: plug for key, plug in zip(PLUGS, plugs, strict=True) if plug is not None}
    details = flags | {"vhostuser_socket": "/run/vhu/guest.sock", "ovs_hybrid_plug": hybrid}
    compare(Case(vif_type=VifType.VHOSTUSER, vnic_type=vnic_type, details=details))


def test_no_object_of_hw_veb() -> None:
    """Nova has no os-vif object for such a port, so no plugin is called by our name for it."""
    case = Case(vif_type=VifType.HW_VEB, vnic_type=VnicType.DIRECT, details={"vlan": "5"})
    assert os_vif_util.nova_to_osvif_vif(nova_model(case)) is None
    ours = build_vif(case.port(), case.binding())
    assert ours.plugin not in os_vif._EXT_MANAGER.names()


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.id)
def test_every_difference(difference: Any) -> None:
    """Each recorded difference is true of Nova and of ours, in a case that shows it alone."""
    assert [other.id for other in DIFFERENCES if other.applies(difference.example)] == [
        difference.id
    ]
    compare(difference.example)


def test_the_pages_differences_are_these() -> None:
    """Every difference on the reference page is compared here, and none is compared unsaid."""
    rows = DOC.read_text().split("## Deliberate differences from Nova 34\n")[1]
    ids = re.findall(r"^\| `([a-z-]+)` \|", rows, re.MULTILINE)
    assert sorted(ids) == sorted(difference.id for difference in DIFFERENCES)
