"""libvirt's XML as text: the interface of a VIF, and readers of a domain's XML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from smartvif.model.errors import Invalid
from smartvif.model.guest_interface import InterfaceIdentity
from smartvif.model.pci import PciAddress

if TYPE_CHECKING:
    from smartvif.guest.element import Queues
    from smartvif.model.vif import Vif

SHARED_MEMORY = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
"""The element by which a forwarder or switch can map a domain's memory, as vhost-user needs.

It belongs into ``<domain>``, and takes effect at the next start (libvirt.org/formatdomain.html,
"Memory Backing").
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One ``<interface>``.

    ``kind`` is libvirt's type; ``source`` is what it is plugged into: the tap's name, the bridge,
    the vhost-user socket, the PCI address. ``target`` is the host-side netdev, if it has one.
    ``link_up`` is False where the machine's owner has set its link down (virsh domif-setlink).
    """

    mac: str
    kind: str
    source: str | None
    target: str | None
    link_up: bool = True

    @property
    def identity(self) -> InterfaceIdentity:
        """What it is known by. The target does not count, as libvirt may choose it."""
        return InterfaceIdentity(mac=self.mac, kind=self.kind, source=self.source)


def interface_xml(vif: Vif, queues: Queues | None = None) -> str:
    """The ``<interface>`` that gives a guest ``vif``; without ``queues`` libvirt chooses them.

    The MTU is set only for taps. A PCI device has its own, and so has the netdev below a macvtap:
    libvirt refuses it there. For vhost-user libvirt 9 would set it on a netdev of the host as
    well, and fail to start or to plug the guest where there is none: such a guest sets its own
    (docs.openvswitch.org, "Jumbo Frames", vHost ports).

    The VLAN is set only where no switch port of ours tags the frames: for a NIC that switches by
    itself (hw_veb), and where libvirt makes Open vSwitch's port.

    Raises: Invalid, for a VIF that lacks a value, or that has another tap than ``queues`` need.
    """
    from smartvif.guest.element import LIBVIRTS_QUEUES, interface_element

    interface = interface_element(vif, queues or LIBVIRTS_QUEUES)
    ET.indent(interface)
    return ET.tostring(interface, encoding="unicode")


def interfaces(domain_xml: str) -> tuple[tuple[Interface, ET.Element], ...]:
    """Each interface of a domain, with its element as libvirt wrote it."""
    elements = _parsed(domain_xml).findall("devices/interface")
    return tuple((_read(element), element) for element in elements)


def read_interface(interface_xml: str) -> Interface:
    """The values of an ``<interface>``."""
    return _read(_parsed(interface_xml))


def with_interfaces(domain_xml: str, replacements: Mapping[InterfaceIdentity, str]) -> str:
    """The domain with other interfaces in place of these; all others stay.

    The guest must find its devices where they were: their addresses on its buses, and libvirt's
    names for them, stay.
    """
    domain = _parsed(domain_xml)
    devices = domain.find("devices")
    assert devices is not None  # libvirt's own
    for place, element in enumerate(devices):
        new = replacements.get(_read(element).identity) if element.tag == "interface" else None
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


def identity(domain_xml: str) -> tuple[str, str]:
    """The domain's name and its UUID, as text with dashes.

    Raises: Invalid, for what is no domain.
    """
    try:
        domain = _parsed(domain_xml)
    except ET.ParseError as error:
        raise Invalid(f"it is not XML: {error}", where="domain XML") from error
    name, uuid = domain.findtext("name"), domain.findtext("uuid")
    if name is None or uuid is None:
        raise Invalid("it has no name or no UUID", where="domain XML")
    return name, uuid.lower()


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
        link_up=_attribute(element, "link", "state") != "down",
    )


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
