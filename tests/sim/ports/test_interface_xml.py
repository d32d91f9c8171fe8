"""The guest's XML before a real libvirtd: every variant, and what libvirt makes of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.links import Links
from smartvif.guest.element import LIBVIRTS_QUEUES, Queues
from smartvif.guest.xml import SHARED_MEMORY, interface_xml
from smartvif.model.errors import Failed
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network
from smartvif.model.vif import PortProfile, ProfileKind, SocketMode, Vif, VifKind
from smartvif.plug.steps.links import Tap
from smartvif.sim.guest.console import Console
from smartvif.sim.guest.guests import domain_xml
from smartvif.sim.guest.image import GuestImage
from smartvif.sim.host import GUESTS
from smartvif.sim.testing import on_simulated_host

PORT = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
MAC = "52:54:00:12:34:56"
VF = PciAddress.parse("0000:05:1f.7")
QUEUES = Queues(pairs=4, rx=1024, tx=512)
MTU = '<mtu size="1400" />'


def vif(kind: VifKind, **values: object) -> Vif:
    """A VIF of one kind with the values that matter for it."""
    fixed = {"id": PORT, "plugin": "ovs", "address": MAC, "network": Network(id="n1")}
    return Vif(kind=kind, **(fixed | values))  # type: ignore[arg-type]


def profile(**values: Any) -> PortProfile:
    """An Open vSwitch port profile."""
    return PortProfile(kind=ProfileKind.OPENVSWITCH, interface_id=PORT, **values)


SERVER = vif(VifKind.VHOSTUSER, path="/run/s", mode=SocketMode.SERVER)
CLIENT = vif(VifKind.VHOSTUSER, path="/run/s", mode=SocketMode.CLIENT, vif_name="vhu0")
PASSTHROUGH = vif(VifKind.HOST_DEVICE, dev_address=VF)
MACVTAP = vif(VifKind.GENERIC, plugin="hw_veb", dev_address=VF, vif_name="enp5s31f7")
SHAPES = (
    vif(VifKind.GENERIC, vif_name="tap0"),
    vif(VifKind.GENERIC, vif_name="tap0", profile=profile(create_tap=True)),
    vif(VifKind.OPENVSWITCH, vif_name="tap0", profile=profile(create_tap=True)),
    vif(VifKind.OPENVSWITCH, vif_name="tap0", profile=profile(create_port=True)),
    vif(VifKind.OPENVSWITCH, vif_name="tap0", bridge_name="br-int", profile=profile()),
    vif(VifKind.BRIDGE, vif_name="tap0", bridge_name="qbr0"),
    SERVER,
    replace(SERVER, vif_name="vhu0"),
    CLIENT,
    PASSTHROUGH,
    replace(PASSTHROUGH, dev_address=PciAddress.parse("10001:e1:02.7")),
    replace(PASSTHROUGH, plugin="hw_veb"),
    MACVTAP,
)


def variants() -> Iterator[str]:
    """The XML of every shape with every choice of what a port may ask for besides."""
    for shape, mtu, vlan, trusted, queues in product(
        SHAPES, (None, 68, 65535), (None, 0, 4094), (False, True), (LIBVIRTS_QUEUES, QUEUES)
    ):
        asked = replace(shape, trusted=trusted, network=Network(id="n1", mtu=mtu, vlan=vlan))
        if asked.profile is not None:
            many = queues.pairs is not None
            asked = replace(asked, profile=replace(asked.profile, multiqueue=many))
        yield interface_xml(asked, queues)


def parsed(text: str) -> ET.Element:
    """libvirt's XML, or ours."""
    return ET.fromstring(text)  # noqa: S314


def kept(ours: ET.Element, libvirts: ET.Element) -> bool:
    """Whether all that we say is in what libvirt says."""
    return (
        ours.tag == libvirts.tag
        and ours.attrib.items() <= libvirts.attrib.items()
        and all(any(kept(child, other) for other in libvirts) for child in ours)
    )


def defined(interface: str) -> ET.Element:
    """The domain that a real libvirtd has after it has validated one with this interface."""
    import libvirt

    image = GuestImage(kernel=Path("/kernel"), initrd=Path("/initrd"))
    text = domain_xml("new", image, log=Path("/run/new.log"), agent=Path("/run/new.agent"))
    whole = text.replace("</devices>", f"{interface}</devices>")
    connection = libvirt.open(os.environ["LIBVIRT_DEFAULT_URI"])
    try:
        domain = connection.defineXMLFlags(whole, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        try:
            return parsed(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        finally:
            domain.undefine()
    finally:
        connection.close()


@on_simulated_host(guests=1)
def test_every_variant_is_defined() -> None:
    """libvirt's schema and its driver take every variant, and drop nothing of it."""
    texts = dict.fromkeys(variants())
    assert len(texts) > 50
    for text in texts:
        found = defined(text).find("devices/interface")
        assert found is not None
        assert kept(parsed(text), found), (
            f"{text}\nbecame\n{ET.tostring(found, encoding='unicode')}"
        )


@on_simulated_host(guests=1)
def test_what_is_left_out_is_refused() -> None:
    """Where no MTU and no reconnecting is said, libvirt would not take it."""
    import libvirt

    host = HostContext(settings.load())
    for shape in (MACVTAP, PASSTHROUGH):
        text = interface_xml(shape).replace("</interface>", f"{MTU}</interface>")
        with pytest.raises(libvirt.libvirtError, match="setting MTU on interface type"):
            defined(text)
    text = interface_xml(CLIENT).replace('mode="client"', 'mode="server"')
    with pytest.raises(libvirt.libvirtError, match="'reconnect' attribute unsupported 'server'"):
        defined(text)
    text = interface_xml(SERVER).replace("</interface>", f"{MTU}</interface>")
    assert defined(text).find("devices/interface/mtu") is not None
    with pytest.raises(Failed, match="Cannot set interface MTU"):
        host.domains.attach(host.domains.uuid("vm1"), text)
    assert host.domains.interfaces("vm1") == ()


@on_simulated_host(guests=1)
def test_a_guest_has_the_queues_of_its_tap() -> None:
    """A tap for many queues is plugged into a running guest, and all of them are opened."""
    host = HostContext(settings.load())
    Tap(name="tap0", mac=MAC, multi_queue=True).do(Drivers(links=Links()))
    asked = replace(
        vif(VifKind.OPENVSWITCH, vif_name="tap0", network=Network(id="n1", mtu=1400)),
        profile=profile(create_tap=True, multiqueue=True),
    )
    one = interface_xml(replace(asked, profile=profile(create_tap=True)))
    with pytest.raises(Failed, match="Invalid argument"):
        host.domains.attach(host.domains.uuid("vm1"), one)
    host.domains.attach(host.domains.uuid("vm1"), interface_xml(asked, Queues(pairs=3, rx=512)))
    console = Console(GUESTS / "vm1.agent")
    code, said = console.run(
        "cd /sys/class/net; until [ -e eth0 ]; do sleep 0.1; done;"
        " cat eth0/mtu eth0/device/features"
    )
    assert code == 0
    mtu, features = said.decode().split()
    # VIRTIO_NET_F_MQ (include/uapi/linux/virtio_net.h).
    assert (mtu, features[22]) == ("1400", "1")
    # QEMU has those disabled that the guest, with its one processor, does not use.
    command = ["ip", "-d", "-j", "link", "show", "tap0"]
    (tap,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    opened = tap["linkinfo"]["info_data"]
    assert opened["numqueues"] + opened["numdisabled"] == 3


@on_simulated_host(guests=1)
def test_shared_memory() -> None:
    """A machine that is given what the advice says has memory that is shared."""
    import libvirt

    host = HostContext(settings.load())
    connection = libvirt.open(os.environ["LIBVIRT_DEFAULT_URI"])
    start = "<domain type='qemu'><name>new</name><memory>65536</memory>"
    end = "<os><type>hvm</type></os></domain>"
    for advice in ("", SHARED_MEMORY):
        text = f"{start}{advice}{end}"
        connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        assert host.domains.read(host.domains.uuid("new")).shares_memory is bool(advice)
        connection.lookupByName("new").undefine()
    connection.close()
