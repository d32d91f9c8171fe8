"""A VIF in libvirt's XML, and what is read back from it."""

import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.guest import xml
from smartvif.guest.element import Queues
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.guest_interface import InterfaceIdentity
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network
from smartvif.model.vif import PortProfile, ProfileKind, SocketMode, Vif, VifKind
from smartvif.sim.guest.guests import domain_xml
from smartvif.sim.guest.image import GuestImage
from tests.support.checkout import CHECKOUT

MAC = "52:54:00:12:34:56"
PORT = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
VF = PciAddress.parse("0000:05:1f.7")


def vif(kind: VifKind, *, mtu: int | None = None, vlan: int | None = None, **values: object) -> Vif:
    """A VIF of one kind with the values that matter for it."""
    fixed = {"id": "p1", "plugin": "agilio_ovs", "address": MAC}
    network = Network(id="n1", mtu=mtu, vlan=vlan)
    return Vif(kind=kind, network=network, **(fixed | values))  # type: ignore[arg-type]


def with_tap(**values: Any) -> PortProfile:
    """A port profile with a tap of ours."""
    fixed: dict[str, Any] = {"kind": ProfileKind.OPENVSWITCH, "create_tap": True}
    return PortProfile(**fixed | values)


TAP = """\
<interface type="ethernet">
  <mac address="52:54:00:12:34:56" />
  <target dev="tap0" managed="no" />
  <model type="virtio" />
  <mtu size="1450" />
</interface>"""
LIBVIRTS_TAP = TAP.replace(' managed="no"', "")

CASES = {
    "generic": (vif(VifKind.GENERIC, mtu=1450, vif_name="tap0"), LIBVIRTS_TAP, "tap0"),
    "generic, its tap made": (
        vif(VifKind.GENERIC, mtu=1450, vif_name="tap0", profile=with_tap(kind=ProfileKind.BASE)),
        TAP,
        "tap0",
    ),
    "openvswitch, its tap made": (
        vif(VifKind.OPENVSWITCH, mtu=1450, vlan=5, vif_name="tap0", profile=with_tap()),
        TAP,
        "tap0",
    ),
    "openvswitch, its port made": (
        vif(
            VifKind.OPENVSWITCH,
            mtu=1450,
            vif_name="tap0",
            profile=with_tap(create_tap=False, create_port=True),
        ),
        LIBVIRTS_TAP,
        "tap0",
    ),
    "openvswitch, nothing made": (
        vif(
            VifKind.OPENVSWITCH,
            id=PORT,
            mtu=1450,
            vlan=5,
            vif_name="tap0",
            bridge_name="br0",
            profile=with_tap(create_tap=False),
        ),
        """\
<interface type="bridge">
  <mac address="52:54:00:12:34:56" />
  <source bridge="br0" />
  <target dev="tap0" />
  <model type="virtio" />
  <mtu size="1450" />
  <vlan>
    <tag id="5" />
  </vlan>
  <virtualport type="openvswitch">
    <parameters interfaceid="0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3" />
  </virtualport>
</interface>""",
        "br0",
    ),
    "no mtu": (
        vif(VifKind.GENERIC, vif_name="tap0"),
        LIBVIRTS_TAP.replace('  <mtu size="1450" />\n', ""),
        "tap0",
    ),
    "bridge": (
        vif(VifKind.BRIDGE, mtu=9000, vif_name="tap0", bridge_name="qbr0"),
        """\
<interface type="bridge">
  <mac address="52:54:00:12:34:56" />
  <source bridge="qbr0" />
  <target dev="tap0" />
  <model type="virtio" />
  <mtu size="9000" />
</interface>""",
        "qbr0",
    ),
    "vhost-user server": (
        vif(VifKind.VHOSTUSER, mtu=9000, path="/run/s", mode=SocketMode.SERVER, vif_name="vhu0"),
        """\
<interface type="vhostuser">
  <mac address="52:54:00:12:34:56" />
  <source type="unix" path="/run/s" mode="server" />
  <target dev="vhu0" />
  <model type="virtio" />
</interface>""",
        "/run/s",
    ),
    "vhost-user client": (
        vif(VifKind.VHOSTUSER, path="/run/s", mode=SocketMode.CLIENT),
        """\
<interface type="vhostuser">
  <mac address="52:54:00:12:34:56" />
  <source type="unix" path="/run/s" mode="client">
    <reconnect enabled="yes" timeout="1" />
  </source>
  <model type="virtio" />
</interface>""",
        "/run/s",
    ),
    "host device": (
        vif(VifKind.HOST_DEVICE, mtu=9000, dev_address=VF),
        """\
<interface type="hostdev" managed="yes">
  <mac address="52:54:00:12:34:56" />
  <source>
    <address type="pci" domain="0x0000" bus="0x05" slot="0x1f" function="0x7" />
  </source>
</interface>""",
        "0000:05:1f.7",
    ),
    "VF in the NIC's switch": (
        vif(VifKind.HOST_DEVICE, plugin="hw_veb", vlan=5, mtu=9000, dev_address=VF),
        """\
<interface type="hostdev" managed="yes">
  <mac address="52:54:00:12:34:56" />
  <source>
    <address type="pci" domain="0x0000" bus="0x05" slot="0x1f" function="0x7" />
  </source>
  <vlan>
    <tag id="5" />
  </vlan>
</interface>""",
        "0000:05:1f.7",
    ),
    "macvtap in the NIC's switch": (
        vif(VifKind.GENERIC, plugin="hw_veb", vlan=0, mtu=9000, dev_address=VF, vif_name="vf0"),
        """\
<interface type="direct">
  <mac address="52:54:00:12:34:56" />
  <source dev="vf0" mode="passthrough" />
  <model type="virtio" />
  <driver name="vhost" />
  <vlan>
    <tag id="0" />
  </vlan>
</interface>""",
        "vf0",
    ),
    "trusted macvtap": (
        vif(VifKind.GENERIC, plugin="hw_veb", trusted=True, dev_address=VF, vif_name="vf0"),
        """\
<interface type="direct" trustGuestRxFilters="yes">
  <mac address="52:54:00:12:34:56" />
  <source dev="vf0" mode="passthrough" />
  <model type="virtio" />
  <driver name="vhost" />
</interface>""",
        "vf0",
    ),
    "trusted VF, tagged by the switch": (
        vif(VifKind.HOST_DEVICE, plugin="ovs", vlan=5, trusted=True, dev_address=VF),
        """\
<interface type="hostdev" managed="yes">
  <mac address="52:54:00:12:34:56" />
  <source>
    <address type="pci" domain="0x0000" bus="0x05" slot="0x1f" function="0x7" />
  </source>
</interface>""",
        "0000:05:1f.7",
    ),
}
by_name = pytest.mark.parametrize("name", CASES)


@by_name
def test_interface_xml(name: str) -> None:
    """Each kind of VIF has exactly one element."""
    value, text, _ = CASES[name]
    assert xml.interface_xml(value) == text


@by_name
def test_read_back(name: str) -> None:
    """What is read from the element is what the VIF is plugged into."""
    value, text, source = CASES[name]
    interface = xml.read_interface(text)
    # libvirt names a macvtap itself.
    target = None if interface.kind == "direct" else value.vif_name
    assert (interface.mac, interface.source, interface.target) == (MAC, source, target)


@by_name
@pytest.mark.skipif(not shutil.which("virt-xml-validate"), reason="needs libvirt-clients")
def test_schema(name: str, tmp_path: Path) -> None:
    """libvirt's own schema accepts each element in a guest."""
    image = GuestImage(kernel=Path("/k"), initrd=Path("/i"))
    domain = domain_xml("vm1", image, log=Path("/l"), agent=Path("/a"))
    path = tmp_path / "domain.xml"
    path.write_text(domain.replace("</devices>", f"{CASES[name][1]}</devices>"))
    command = ["virt-xml-validate", str(path), "domain"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "value",
    [
        vif(VifKind.OPENVSWITCH, vif_name="tap0", bridge_name="br0"),
        vif(VifKind.OPENVSWITCH, vif_name="tap0", profile=with_tap(create_tap=False)),
        vif(VifKind.OPENVSWITCH, profile=with_tap()),
        vif(VifKind.GENERIC),
        vif(VifKind.BRIDGE, vif_name="tap0"),
        vif(VifKind.VHOSTUSER, path="/run/s"),
        vif(VifKind.VHOSTUSER, mode=SocketMode.SERVER),
        vif(VifKind.HOST_DEVICE),
        vif(VifKind.HOST_DEVICE, plugin="hw_veb", vlan=5),
        vif(VifKind.GENERIC, plugin="hw_veb", vlan=5, dev_address=VF),
    ],
)
def test_no_interface(value: Vif) -> None:
    """A VIF that lacks what its element needs is refused and not guessed at."""
    with pytest.raises(Invalid):
        xml.interface_xml(value)


def test_whose_port_libvirt_makes() -> None:
    """The port that libvirt makes is the one that the switch's controller waits for."""
    made = with_tap(create_tap=False, interface_id=PORT)
    text = xml.interface_xml(
        vif(VifKind.OPENVSWITCH, vif_name="tap0", bridge_name="br0", profile=made)
    )
    assert f'interfaceid="{PORT}"' in text


QUEUES = Queues(pairs=4, rx=1024, tx=512)
DRIVERS = {
    "generic": {"queues": "4", "rx_queue_size": "1024"},
    "openvswitch, nothing made": {"queues": "4", "rx_queue_size": "1024"},
    "bridge": {"queues": "4", "rx_queue_size": "1024"},
    "vhost-user server": {"queues": "4", "rx_queue_size": "1024", "tx_queue_size": "512"},
    "vhost-user client": {"queues": "4", "rx_queue_size": "1024", "tx_queue_size": "512"},
    "macvtap in the NIC's switch": {"name": "vhost", "queues": "4", "rx_queue_size": "1024"},
    "host device": None,
    "VF in the NIC's switch": None,
}


@pytest.mark.parametrize("name", DRIVERS)
def test_queues(name: str) -> None:
    """Queues are said of virtio devices, and change nothing else; a transmit ring of a socket's."""
    value, text, _ = CASES[name]
    queued, plain = (ET.fromstring(each) for each in (xml.interface_xml(value, QUEUES), text))  # noqa: S314
    driver = queued.find("driver")
    assert (None if driver is None else driver.attrib) == DRIVERS[name]
    for each in (queued, plain):
        for found in each.findall("driver"):
            each.remove(found)
    assert ET.canonicalize(ET.tostring(queued), strip_text=True) == ET.canonicalize(
        ET.tostring(plain), strip_text=True
    )


def test_one_ring() -> None:
    """What is left to libvirt is not said."""
    value = vif(VifKind.GENERIC, vif_name="tap0")
    assert '<driver rx_queue_size="512" />' in xml.interface_xml(value, Queues(rx=512, tx=512))
    assert "driver" not in xml.interface_xml(value, Queues(tx=512))


@pytest.mark.parametrize(
    "wanted", [{"pairs": 0}, {"pairs": -1}, {"rx": 128}, {"rx": 1000}, {"tx": 2048}, {"tx": 0}]
)
def test_no_such_queues(wanted: dict[str, int]) -> None:
    """Queues that QEMU does not take are refused before a guest fails to start with them."""
    with pytest.raises(Invalid):
        Queues(**wanted)


@pytest.mark.parametrize("kind", [ProfileKind.OPENVSWITCH, ProfileKind.BASE])
@pytest.mark.parametrize("pairs", [None, 1, 2])
@pytest.mark.parametrize("multiqueue", [False, True])
def test_a_tap_is_opened_as_it_was_made(
    multiqueue: bool, pairs: int | None, kind: ProfileKind
) -> None:
    """A tap of ours for one queue is not given to a guest with many, nor the other way round."""
    shape = VifKind.OPENVSWITCH if kind is ProfileKind.OPENVSWITCH else VifKind.GENERIC
    value = vif(shape, vif_name="tap0", profile=with_tap(kind=kind, multiqueue=multiqueue))
    if multiqueue == (pairs == 2):
        assert 'managed="no"' in xml.interface_xml(value, Queues(pairs=pairs))
    else:
        with pytest.raises(Invalid, match="cannot be opened"):
            xml.interface_xml(value, Queues(pairs=pairs))


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7))
def test_every_pci_address(domain: int, bus: int, slot: int, function: int) -> None:
    """Any PCI address comes back from the XML as it went in."""
    address = PciAddress(domain, bus, slot, function)
    text = xml.interface_xml(vif(VifKind.HOST_DEVICE, dev_address=address))
    assert xml.read_interface(text).source == str(address)


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn"]), min_size=1))
def test_every_path(path: str) -> None:
    """A socket's path comes back from the XML as it went in, whatever characters it has."""
    path = f"/run/{path}"
    value = vif(VifKind.VHOSTUSER, path=path, mode=SocketMode.SERVER)
    try:
        checks.socket_path(path)
    except Invalid:
        with pytest.raises(Invalid):
            xml.interface_xml(value)
    else:
        assert xml.read_interface(xml.interface_xml(value)).source == path


def test_interfaces_of_a_domain() -> None:
    """All interfaces of a domain are read, a libvirt network by its name and not its bridge."""
    text = f"""<domain><devices><disk/>{TAP}<interface type='network'>
        <mac address='52:54:00:AA:00:01'/><source network='default' portid='x' bridge='virbr0'/>
        <target dev='vnet3'/></interface><interface type='user'/></devices></domain>"""
    found = [interface for interface, _ in xml.interfaces(text)]
    assert found == [
        xml.Interface(mac=MAC, kind="ethernet", source="tap0", target="tap0"),
        xml.Interface(mac="52:54:00:aa:00:01", kind="network", source="default", target="vnet3"),
        xml.Interface(mac="", kind="user", source=None, target=None),
    ]


SHARED = xml.SHARED_MEMORY


def test_the_page_has_the_advice() -> None:
    """Who reads the page and who reads the error are told the same."""
    page = CHECKOUT / "docs" / "reference" / "guest-xml.md"
    assert f"\n{xml.SHARED_MEMORY}\n" in page.read_text()


@pytest.mark.parametrize(
    ("body", "shared"),
    [
        ("", False),
        ("<memoryBacking><hugepages/></memoryBacking>", False),
        (SHARED, True),
        (SHARED.replace("shared", "private"), False),
        ("<cpu><numa><cell memAccess='shared'/><cell memAccess='shared'/></numa></cpu>", True),
        ("<cpu><numa><cell memAccess='shared'/><cell/></numa></cpu>", False),
        (f"{SHARED}<cpu><numa><cell/></numa></cpu>", True),
        (f"{SHARED}<cpu><numa><cell memAccess='private'/></numa></cpu>", False),
    ],
)
def test_shares_memory(body: str, shared: bool) -> None:
    """Memory is shared when all of it is, by a cell's own word or the guest's."""
    assert xml.shares_memory(f"<domain>{body}</domain>") is shared


OLD = """<domain><name>vm1</name><devices><disk/><interface type='vhostuser'>
<mac address='52:54:00:12:34:56'/><source type='unix' path='/old' mode='server'/>
<target dev='old'/><model type='virtio'/><alias name='net0'/>
<address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/></interface>
<interface type='user'/></devices></domain>"""


def parsed(text: str) -> ET.Element:
    """The tree of a text of ours."""
    return ET.fromstring(text)  # noqa: S314


@by_name
def test_another_interface_in_its_place(name: str) -> None:
    """The guest finds it where it was, by the same name, and whatever else it says is new."""
    _, new, source = CASES[name]
    mine = InterfaceIdentity(mac=MAC, kind="vhostuser", source="/old")
    domain = parsed(xml.with_interfaces(OLD.replace(MAC, MAC.upper()), {mine: new}))
    replaced, other = domain.findall("devices/interface")
    was, _ = parsed(OLD).findall("devices/interface")
    assert xml.read_interface(ET.tostring(replaced, encoding="unicode")).source == source
    for tag in ("alias", "address"):
        assert [each.attrib for each in replaced.findall(tag)] == [
            each.attrib for each in was.findall(tag)
        ]
    assert [child.tag for child in replaced if child.tag not in {"alias", "address"}] == [
        child.tag for child in parsed(new)
    ]
    assert (other.attrib, domain.findtext("name")) == ({"type": "user"}, "vm1")
    assert [each.tag for each in domain.iterfind("devices/*")] == ["disk", "interface", "interface"]


def test_the_other_of_a_pair_stays() -> None:
    """An interface with the same MAC address and another source or type is not replaced."""
    standby = f"<interface type='user'><mac address='{MAC}'/></interface>"
    tap = f"<interface type='ethernet'><mac address='{MAC}'/><target dev='tap0'/></interface>"
    before = f"<domain><devices>{standby}{tap}{TAP}</devices></domain>".replace("tap0", "tap1", 1)
    mine = InterfaceIdentity(mac=MAC, kind="ethernet", source="tap0")
    new = f"<interface type='ethernet'><mac address='{MAC}'/><target dev='tap9'/></interface>"
    after = [each.identity for each, _ in xml.interfaces(xml.with_interfaces(before, {mine: new}))]
    assert [(each.kind, each.source) for each in after] == [
        ("user", None),
        ("ethernet", "tap1"),
        ("ethernet", "tap9"),
    ]


@pytest.mark.parametrize(("link", "up"), [("", True), ("up", True), ("down", False)])
def test_the_link(link: str, up: bool) -> None:
    """An interface's link is up unless libvirt says that it is down."""
    text = TAP.replace("<mac", f"<link state='{link}'/><mac" if link else "<mac")
    assert xml.read_interface(text).link_up is up


@given(
    st.lists(st.integers(0, 9), unique=True, max_size=6),
    st.sets(st.integers(0, 9)),
    st.data(),
)
def test_the_others_stay(present: list[int], replaced: set[int], data: st.DataObject) -> None:
    """Whichever are replaced and wherever they are: each device keeps its place, others all."""
    elements = [
        f"<interface type='user'><mac address='52:54:00:00:00:0{number}'/>"
        f"<source dev='old{number}'/><alias name='net{number}'/></interface>"
        for number in present
    ]
    for place in data.draw(st.lists(st.integers(0, len(elements)), max_size=3)):
        elements.insert(place, "<hostdev><mac address='52:54:00:00:00:00'/></hostdev>")
    before = f"<domain><devices>{''.join(elements)}</devices></domain>"
    replacements = {
        InterfaceIdentity(
            mac=f"52:54:00:00:00:0{number}", kind="user", source=f"old{number}"
        ): f"<interface type='bridge'>"
        f"<mac address='52:54:00:00:00:0{number}'/><source bridge='new{number}'/></interface>"
        for number in replaced
    }
    after = parsed(xml.with_interfaces(before, replacements)).findall("devices/*")
    old = parsed(before).findall("devices/*")
    assert [each.tag for each in after] == [each.tag for each in old]
    for was, now in zip(old, after, strict=True):
        mac = was.find("mac")
        assert mac is not None
        number = mac.attrib["address"][-1]
        if was.tag == "interface" and int(number) in replaced:
            assert xml.read_interface(ET.tostring(now).decode()).source == f"new{number}"
            assert [each.attrib["name"] for each in now.findall("alias")] == [f"net{number}"]
        else:
            assert ET.tostring(now) == ET.tostring(was)
