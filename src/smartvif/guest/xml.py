"""libvirt's XML: what a VIF looks like in it, and what a domain's XML says of its interfaces.

The elements are those of libvirt's "Domain XML format", section "Network interfaces"
(https://libvirt.org/formatdomain.html), in the shape that Nova gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import VifType
from smartvif.model.vif import SocketMode, Vif, VifKind

# Seconds between a vhost-user client's attempts to reach a forwarder that went away.
_RECONNECT = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One ``<interface>``.

    ``kind`` is libvirt's type; ``source`` is what it is plugged into: the tap's name, the bridge,
    the vhost-user socket, the PCI address. ``target`` is the host-side netdev, if it has one.
    """

    mac: str
    kind: str
    source: str | None
    target: str | None


def interface_xml(vif: Vif) -> str:
    """The ``<interface>`` that gives a guest ``vif``.

    The MTU is said only for taps. A PCI device has its own. For vhost-user libvirt 9 would set it
    on a netdev of the host as well, and fail to hot-plug where there is none: such a guest sets
    its own (docs.openvswitch.org, "Jumbo Frames", vHost ports).

    The VLAN is said only where the NIC itself switches (hw_veb): nobody else would tag the frames.

    Raises: Invalid, for a VIF that no guest interface is known for or that lacks a value.
    """
    in_nic = vif.plugin == VifType.HW_VEB
    match vif.kind:
        case VifKind.HOST_DEVICE if in_nic:
            interface = _tagged(_hostdev(vif), vif)
        case VifKind.GENERIC if in_nic:
            interface = _tagged(_macvtap(vif), vif)
        case VifKind.GENERIC:
            interface = _ethernet(vif)
        case VifKind.OPENVSWITCH if vif.profile is not None and vif.profile.create_tap:
            interface = _ethernet(vif)
        case VifKind.BRIDGE:
            interface = _bridge(vif)
        case VifKind.VHOSTUSER:
            interface = _vhostuser(vif)
        case VifKind.HOST_DEVICE:
            interface = _hostdev(vif)
        case _:
            raise Invalid(
                f"a {vif.kind} without a tap cannot be given to a guest",
                where=f"port {vif.id}",
                hint="let its port profile create the tap",
            )
    ET.indent(interface)
    return ET.tostring(interface, encoding="unicode")


def interfaces(domain_xml: str) -> tuple[tuple[Interface, ET.Element], ...]:
    """Each interface of a domain, with its element as libvirt wrote it."""
    elements = _parsed(domain_xml).findall("devices/interface")
    return tuple((_read(element), element) for element in elements)


def read_interface(interface_xml: str) -> Interface:
    """What an ``<interface>`` says."""
    return _read(_parsed(interface_xml))


def with_interfaces(domain_xml: str, replacements: Mapping[str, str]) -> str:
    """The domain with other interfaces in place of those with these MAC addresses.

    The guest must find its devices where they were: their addresses on its buses, and libvirt's
    names for them, stay.
    """
    domain = _parsed(domain_xml)
    devices = domain.find("devices")
    assert devices is not None  # libvirt's own
    for place, element in enumerate(devices):
        new = replacements.get(_read(element).mac) if element.tag == "interface" else None
        if new is not None:
            replacement = _parsed(new)
            for kept in ("alias", "address"):
                replacement.extend(element.findall(kept))
            devices[place] = replacement
    return ET.tostring(domain, encoding="unicode")


def pci_devices(domain_xml: str) -> frozenset[PciAddress]:
    """The host's PCI devices that the domain has or will have, as interface or plain device."""
    devices = _parsed(domain_xml).iterfind("devices/*/source/address")
    return frozenset(_pci_address(each) for each in devices if each.get("bus") is not None)


def shares_memory(domain_xml: str) -> bool:
    """Whether another process can map the guest's memory, as vhost-user needs.

    ``memAccess`` of a NUMA cell goes before ``<access>`` of the whole guest.
    """
    domain = _parsed(domain_xml)
    access = _attribute(domain, "memoryBacking/access", "mode")
    cells = [cell.get("memAccess", access) for cell in domain.findall("cpu/numa/cell")]
    return all(mode == "shared" for mode in cells or [access])


def _parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  (libvirt's own output, or ours)


def _read(element: ET.Element) -> Interface:
    kind = element.get("type", "")
    target = _attribute(element, "target", "dev")
    return Interface(
        mac=(_attribute(element, "mac", "address") or "").lower(),
        kind=kind,
        source=target if kind == "ethernet" else _source(element),
        target=target,
    )


def _ethernet(vif: Vif) -> ET.Element:
    """A tap that is there already: managed='no' has libvirt open it and not make or remove it."""
    interface = _interface("ethernet", vif)
    ET.SubElement(interface, "target", dev=_needed(vif, "vif_name"), managed="no")
    _add_model_and_mtu(interface, vif.network.mtu)
    return interface


def _bridge(vif: Vif) -> ET.Element:
    interface = _interface("bridge", vif)
    ET.SubElement(interface, "source", bridge=_needed(vif, "bridge_name"))
    ET.SubElement(interface, "target", dev=_needed(vif, "vif_name"))
    _add_model_and_mtu(interface, vif.network.mtu)
    return interface


def _vhostuser(vif: Vif) -> ET.Element:
    interface = _interface("vhostuser", vif)
    mode = _needed(vif, "mode")
    source = ET.SubElement(interface, "source", type="unix", path=_needed(vif, "path"), mode=mode)
    if mode == SocketMode.CLIENT:
        ET.SubElement(source, "reconnect", enabled="yes", timeout=_RECONNECT)
    if vif.vif_name is not None:
        # Without a name libvirt would ask ovs-vsctl for one.
        ET.SubElement(interface, "target", dev=vif.vif_name)
    _add_model_and_mtu(interface, None)
    return interface


def _hostdev(vif: Vif) -> ET.Element:
    interface = _interface("hostdev", vif)
    interface.set("managed", "yes")
    address = PciAddress.parse(_needed(vif, "dev_address"))
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


def _macvtap(vif: Vif) -> ET.Element:
    """A macvtap that has the VF's netdev to itself, so that libvirt programs the VF by its PF."""
    interface = _interface("direct", vif)
    ET.SubElement(interface, "source", dev=_needed(vif, "vif_name"), mode="passthrough")
    ET.SubElement(interface, "model", type="virtio")
    ET.SubElement(interface, "driver", name="vhost")
    return interface


def _tagged(interface: ET.Element, vif: Vif) -> ET.Element:
    if vif.network.vlan is not None:
        ET.SubElement(ET.SubElement(interface, "vlan"), "tag", id=str(vif.network.vlan))
    return interface


def _interface(kind: str, vif: Vif) -> ET.Element:
    interface = ET.Element("interface", type=kind)
    ET.SubElement(interface, "mac", address=vif.address)
    return interface


def _add_model_and_mtu(interface: ET.Element, mtu: int | None) -> None:
    ET.SubElement(interface, "model", type="virtio")
    if mtu is not None:
        ET.SubElement(interface, "mtu", size=str(mtu))


def _needed(vif: Vif, name: str) -> str:
    value: str | None = getattr(vif, name)
    if value is None:
        raise Invalid(f"a {vif.kind} needs {name}", where=f"port {vif.id}")
    return value


def _pci_address(element: ET.Element) -> PciAddress:
    parts = (int(element.get(part, "0"), 0) for part in ("domain", "bus", "slot", "function"))
    return PciAddress(*parts)


def _source(element: ET.Element) -> str | None:
    source = element.find("source")
    if source is None:
        return None
    if (pci := source.find("address[@type='pci']")) is not None:
        return str(_pci_address(pci))
    # A running guest's interface on a libvirt network names the network's bridge as well.
    names = (source.get(name) for name in ("network", "bridge", "path", "dev"))
    return next((name for name in names if name is not None), None)


def _attribute(element: ET.Element, path: str, name: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.get(name)
