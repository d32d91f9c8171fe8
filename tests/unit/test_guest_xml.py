"""A VIF in libvirt's XML, and what is read back from it."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.guest import xml
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network
from smartvif.model.vif import PortProfile, ProfileKind, SocketMode, Vif, VifKind
from smartvif.sim.guests import domain_xml
from smartvif.sim.image import GuestImage

MAC = "52:54:00:12:34:56"
VF = "0000:05:1f.7"


def vif(kind: VifKind, *, mtu: int | None = None, vlan: int | None = None, **values: object) -> Vif:
    """A VIF of one kind with the values that matter for it."""
    fixed = {"id": "p1", "plugin": "agilio_ovs", "address": MAC}
    network = Network(id="n1", mtu=mtu, vlan=vlan)
    return Vif(kind=kind, network=network, **(fixed | values))  # type: ignore[arg-type]


def with_tap(create_tap: bool) -> PortProfile:
    """An Open vSwitch port profile."""
    return PortProfile(kind=ProfileKind.OPENVSWITCH, create_port=True, create_tap=create_tap)


TAP = """\
<interface type="ethernet">
  <mac address="52:54:00:12:34:56" />
  <target dev="tap0" managed="no" />
  <model type="virtio" />
  <mtu size="1450" />
</interface>"""

CASES = {
    "generic": (vif(VifKind.GENERIC, mtu=1450, vif_name="tap0"), TAP, "tap0"),
    "openvswitch": (
        vif(VifKind.OPENVSWITCH, mtu=1450, vif_name="tap0", profile=with_tap(True)),
        TAP,
        "tap0",
    ),
    "no mtu": (
        vif(VifKind.GENERIC, vif_name="tap0"),
        TAP.replace('  <mtu size="1450" />\n', ""),
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
        vif(VifKind.HOST_DEVICE, mtu=9000, dev_address="0000:05:1f.7"),
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
        vif(VifKind.HOST_DEVICE, plugin="hw_veb", vlan=5, mtu=9000, dev_address="0000:05:1f.7"),
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
    "tagged by the switch": (
        vif(VifKind.HOST_DEVICE, plugin="ovs", vlan=5, dev_address="0000:05:1f.7"),
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
        vif(VifKind.OPENVSWITCH, vif_name="tap0", profile=with_tap(False)),
        vif(VifKind.OPENVSWITCH, vif_name="tap0"),
        vif(VifKind.GENERIC),
        vif(VifKind.BRIDGE, vif_name="tap0"),
        vif(VifKind.VHOSTUSER, path="/run/s"),
        vif(VifKind.VHOSTUSER, mode=SocketMode.SERVER),
        vif(VifKind.HOST_DEVICE),
        vif(VifKind.HOST_DEVICE, plugin="hw_veb", vlan=5),
        vif(VifKind.GENERIC, plugin="hw_veb", vlan=5, dev_address=VF),
        vif(VifKind.HOST_DEVICE, dev_address="05:1f.7"),
    ],
)
def test_no_interface(value: Vif) -> None:
    """A VIF that lacks what its element needs is refused and not guessed at."""
    with pytest.raises(Invalid):
        xml.interface_xml(value)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7))
def test_every_pci_address(domain: int, bus: int, slot: int, function: int) -> None:
    """Any PCI address comes back from the XML as it went in."""
    address = str(PciAddress(domain, bus, slot, function))
    text = xml.interface_xml(vif(VifKind.HOST_DEVICE, dev_address=address))
    assert xml.read_interface(text).source == address


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn"]), min_size=1))
def test_every_path(path: str) -> None:
    """A socket's path comes back from the XML as it went in, whatever characters it has."""
    value = vif(VifKind.VHOSTUSER, path=path, mode=SocketMode.SERVER)
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


SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"


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
