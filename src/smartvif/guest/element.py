"""The ``<interface>`` that gives a guest a VIF.

The elements are those of libvirt's "Domain XML format", section "Network interfaces"
(https://libvirt.org/formatdomain.html), in the shape that Nova gives them.
docs/reference/guest-xml.md lists each, and where they differ from Nova's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.port import VifType
from smartvif.model.vif import SocketMode, Vif, VifKind

# Seconds between a vhost-user client's attempts to reach a forwarder that went away.
_RECONNECT = "1"

# QEMU's bounds for both rings (hw/net/virtio-net.c), of which only powers of two are taken.
_RING_SIZES = (256, 512, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The queues of a guest's virtio device; None leaves it to libvirt.

    ``pairs`` is how many receive and how many transmit queues there are; ``rx`` and ``tx`` are
    how many packets one of them holds. ``tx`` applies to vhost-user devices only. None of them
    applies to a VF that is passed to the guest.

    Raises: Invalid, for what QEMU does not take.
    """

    pairs: int | None = None
    rx: int | None = None
    tx: int | None = None

    def __post_init__(self) -> None:
        if self.pairs is not None and self.pairs < 1:
            raise Invalid(f"{self.pairs} pairs of queues", hint="there is at least one")
        for size in (self.rx, self.tx):
            if size is not None and size not in _RING_SIZES:
                raise Invalid(f"{size} packets in a queue", hint="256, 512 or 1024")


LIBVIRTS_QUEUES = Queues()
"""The defaults of libvirt and QEMU."""


def interface_element(vif: Vif, queues: Queues) -> ET.Element:
    """The ``<interface>`` of ``vif``.

    Raises: Invalid, for a VIF that lacks a value, or that has another tap than ``queues`` need.
    """
    in_nic = _IN_NIC if vif.plugin == VifType.HW_VEB else {}
    return in_nic.get(vif.kind, _ELEMENTS[vif.kind])(vif, queues)


def _tap(vif: Vif, queues: Queues) -> ET.Element:
    """A tap: libvirt's to make and to remove, unless managed='no' says that it is there already."""
    interface = _interface("ethernet", vif)
    target = ET.SubElement(interface, "target", dev=_needed(vif, "vif_name"))
    if vif.profile is not None and vif.profile.create_tap:
        target.set("managed", "no")
        _refuse_other_tap(vif, multiqueue=vif.profile.multiqueue, queues=queues)
    return _virtio(interface, vif, queues)


def _on_switch(vif: Vif, queues: Queues) -> ET.Element:
    """A tap in Open vSwitch; libvirt makes the switch's port unless the port profile says not."""
    if vif.profile is None:
        raise Invalid(
            f"a {vif.kind} without a port profile cannot be given to a guest",
            where=f"port {vif.id}",
            hint="the profile says who makes the switch's port",
        )
    if vif.profile.create_tap or vif.profile.create_port:
        return _tap(vif, queues)
    interface = _tagged(_bridge(vif, queues), vif)
    port = ET.SubElement(interface, "virtualport", type="openvswitch")
    ET.SubElement(port, "parameters", interfaceid=vif.profile.interface_id or vif.id)
    return interface


def _bridge(vif: Vif, queues: Queues) -> ET.Element:
    """A tap that libvirt makes, in a bridge that is there."""
    interface = _interface("bridge", vif)
    ET.SubElement(interface, "source", bridge=_needed(vif, "bridge_name"))
    ET.SubElement(interface, "target", dev=_needed(vif, "vif_name"))
    return _virtio(interface, vif, queues)


def _vhostuser(vif: Vif, queues: Queues) -> ET.Element:
    """A socket, whose path and mode are QEMU's."""
    interface = _interface("vhostuser", vif)
    mode = _needed(vif, "mode")
    with checks.about(f"port {vif.id}"):
        path = checks.socket_path(_needed(vif, "path"))
    source = ET.SubElement(interface, "source", type="unix", path=path, mode=mode)
    if mode == SocketMode.CLIENT:
        # libvirt refuses it of a server, to which the other side comes back by itself.
        ET.SubElement(source, "reconnect", enabled="yes", timeout=_RECONNECT)
    if vif.vif_name is not None:
        # Without a name libvirt would ask ovs-vsctl for one.
        ET.SubElement(interface, "target", dev=vif.vif_name)
    ET.SubElement(interface, "model", type="virtio")
    _add_driver(interface, queues=queues.pairs, rx_queue_size=queues.rx, tx_queue_size=queues.tx)
    return interface


def _hostdev(vif: Vif, _: Queues) -> ET.Element:
    """The VF itself; libvirt binds it to vfio and restores it."""
    interface = _interface("hostdev", vif)
    interface.set("managed", "yes")
    address = vif.dev_address
    if address is None:
        raise _missing(vif, "dev_address")
    source = ET.SubElement(interface, "source")
    ET.SubElement(
        source,
        "address",
        type="pci",
        domain=f"0x{address.domain:04x}",
        bus=f"0x{address.bus:02x}",
        slot=f"0x{address.slot:02x}",
        function=f"0x{address.function:x}",
    )
    return interface


def _hostdev_in_nic(vif: Vif, queues: Queues) -> ET.Element:
    """The VF, whose frames the NIC tags: libvirt programs it by its PF."""
    return _tagged(_hostdev(vif, queues), vif)


def _macvtap_in_nic(vif: Vif, queues: Queues) -> ET.Element:
    """A macvtap that has the VF's netdev to itself, so that libvirt programs the VF by its PF."""
    interface = _interface("direct", vif)
    if vif.trusted:
        # The guest's own MAC and multicast addresses go on to the VF, as one that had it would do.
        interface.set("trustGuestRxFilters", "yes")
    ET.SubElement(interface, "source", dev=_needed(vif, "vif_name"), mode="passthrough")
    ET.SubElement(interface, "model", type="virtio")
    _add_driver(interface, name="vhost", queues=queues.pairs, rx_queue_size=queues.rx)
    return _tagged(interface, vif)


def _interface(kind: str, vif: Vif) -> ET.Element:
    interface = ET.Element("interface", type=kind)
    ET.SubElement(interface, "mac", address=vif.address)
    return interface


def _virtio(interface: ET.Element, vif: Vif, queues: Queues) -> ET.Element:
    """The guest's side of a tap. libvirt has vhost of the kernel serve it wherever there is one."""
    ET.SubElement(interface, "model", type="virtio")
    _add_driver(interface, queues=queues.pairs, rx_queue_size=queues.rx)
    if vif.network.mtu is not None:
        ET.SubElement(interface, "mtu", size=str(vif.network.mtu))
    return interface


def _add_driver(interface: ET.Element, **said: str | int | None) -> None:
    attributes = {name: str(value) for name, value in said.items() if value is not None}
    if attributes:
        ET.SubElement(interface, "driver", attributes)


def _tagged(interface: ET.Element, vif: Vif) -> ET.Element:
    if vif.network.vlan is not None:
        ET.SubElement(ET.SubElement(interface, "vlan"), "tag", id=str(vif.network.vlan))
    return interface


def _refuse_other_tap(vif: Vif, *, multiqueue: bool, queues: Queues) -> None:
    """A tap is opened as it was made, for many queues or for one (drivers/net/tun.c)."""
    if multiqueue != ((queues.pairs or 1) > 1):
        made = "many queues" if multiqueue else "one queue"
        raise Invalid(
            f"a tap made for {made} cannot be opened for {queues.pairs or 1}",
            where=f"port {vif.id}",
            hint="the port profile's multiqueue and the guest's queues go together",
        )


def _needed(vif: Vif, name: str) -> str:
    value: str | None = getattr(vif, name)
    if value is None:
        raise _missing(vif, name)
    return value


def _missing(vif: Vif, name: str) -> Invalid:
    return Invalid(f"a {vif.kind} needs {name}", where=f"port {vif.id}")


_Builder = Callable[[Vif, Queues], ET.Element]

_ELEMENTS: dict[VifKind, _Builder] = {
    VifKind.GENERIC: _tap,
    VifKind.OPENVSWITCH: _on_switch,
    VifKind.BRIDGE: _bridge,
    VifKind.VHOSTUSER: _vhostuser,
    VifKind.HOST_DEVICE: _hostdev,
}

# Where the port is on the NIC's own switch, libvirt programs it.
_IN_NIC: dict[VifKind, _Builder] = {
    VifKind.GENERIC: _macvtap_in_nic,
    VifKind.HOST_DEVICE: _hostdev_in_nic,
}
