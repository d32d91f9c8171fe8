"""Virtual machines that libvirt runs, and the network interfaces plugged into them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from smartvif.guest import xml
from smartvif.guest.connection import Connection, translated
from smartvif.guest.xml import Interface
from smartvif.model.errors import Failed, NotFound, TimedOut
from smartvif.model.guest_interface import InterfaceIdentity
from smartvif.model.pci import PciAddress

if TYPE_CHECKING:
    import libvirt

    from smartvif.guest.affinity import User

# Seconds between two requests to a guest to release a device, and between two looks at it.
_ASK_EVERY, _LOOK_EVERY = 5.0, 0.1


class _Side(IntFlag):
    """The two descriptions of a machine, valued as VIR_DOMAIN_AFFECT_LIVE and _CONFIG."""

    LIVE = 1
    CONFIG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestInterface:
    """One interface of a virtual machine.

    ``live``: the running machine has it now; ``persistent``: it will have it at its next start.
    The other fields are those of xml.Interface.
    """

    mac: str
    kind: str
    source: str | None
    target: str | None
    live: bool
    persistent: bool
    link_up: bool = True

    @property
    def identity(self) -> InterfaceIdentity:
        """What it is known by among the machine's interfaces."""
        return InterfaceIdentity(mac=self.mac, kind=self.kind, source=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReading:
    """A machine with its present name and its interfaces, the running machine's first.

    ``uuid`` has dashes; ``description`` is its XML: the running machine's, else its definition.
    ``persistent``: it has a definition; one that has not is gone when it stops.
    """

    name: str
    uuid: str
    description: str
    running: bool
    persistent: bool
    interfaces: tuple[GuestInterface, ...]

    @property
    def shares_memory(self) -> bool:
        """Whether its memory can be shared with a vhost-user forwarder: without, no traffic."""
        return xml.shares_memory(self.description)

    def nodes(self) -> frozenset[int]:
        """The host's NUMA nodes that it is bound to, read now; empty where it is bound to none."""
        from smartvif.guest import affinity
        from smartvif.host import numa

        return affinity.nodes(self.description, numa.nodes())


class Domains:
    """The virtual machines of the libvirt at ``uri``.

    A machine is its UUID: names change, and are given again (libvirt.org/formatdomain.html,
    "General metadata"). By ``name`` it is asked for only where a person has just said one.

    Every method raises CannotTell where libvirt does not answer and Failed, with libvirt's words,
    where it refuses; all but ``exists`` and ``detach`` raise NotFound where there is no such
    machine.
    """

    def __init__(self, uri: str) -> None:
        self._connection = Connection(uri)

    def names(self) -> tuple[str, ...]:
        """The names of all machines, running or not."""
        return tuple(sorted(self._connection.domains()))

    def uuid(self, name: str) -> str:
        """The UUID of the machine that is called ``name`` now, as text with dashes."""
        domain = self._connection.domain(name)
        with translated(_where(domain)):
            return str(domain.UUIDString())

    def exists(self, uuid: str) -> bool:
        """Whether there is such a machine, running or not."""
        try:
            self._connection.by_uuid(uuid)
        except NotFound:
            return False
        return True

    def name(self, uuid: str) -> str:
        """Its present name."""
        domain = self._connection.by_uuid(uuid)
        with translated(_where(domain)):
            return str(domain.name())

    def running(self, uuid: str) -> bool:
        """Whether it runs (or is paused), rather than being only defined."""
        domain = self._connection.by_uuid(uuid)
        with translated(_where(domain)):
            return bool(domain.isActive())

    def qemu_user(self) -> User | None:
        """The user that QEMU runs as, or None where libvirt does not change it."""
        from smartvif.guest import affinity

        connection = self._connection.open()
        with translated(self._connection.uri):
            return affinity.qemu_user(connection.getCapabilities())

    def passed_through(self) -> dict[PciAddress, str]:
        """The host's PCI devices that machines have, with the machine's name."""
        owners = {}
        for name, domain in self._connection.domains().items():
            with translated(_where(domain)):
                owners.update(dict.fromkeys(xml.pci_devices(domain.XMLDesc()), name))
        return owners

    def interfaces(self, name: str) -> tuple[GuestInterface, ...]:
        """All its interfaces: the running machine's first, then those of its next start only."""
        return self.read(self.uuid(name)).interfaces

    def read(self, uuid: str) -> MachineReading:
        """The machine as it is."""
        domain = self._connection.by_uuid(uuid)
        with translated(_where(domain)):
            name, sides, description = domain.name(), _sides(domain), domain.XMLDesc()
            live = _interfaces_of(description) if _Side.LIVE in sides else []
            config = _interfaces(domain, _Side.CONFIG)
        interfaces = tuple(
            GuestInterface(
                mac=interface.mac,
                kind=interface.kind,
                source=interface.source,
                target=interface.target,
                live=_has(live, interface),
                persistent=_has(config, interface),
                link_up=interface.link_up,
            )
            for interface in live + [each for each in config if not _has(live, each)]
        )
        return MachineReading(
            name=name,
            uuid=uuid,
            description=description,
            running=_Side.LIVE in sides,
            persistent=_Side.CONFIG in sides,
            interfaces=interfaces,
        )

    def attach(self, uuid: str, interface_xml: str) -> None:
        """Plug an interface in: into the running machine and into its definition, as there are.

        An interface that is there already is left as it is; another one with the same MAC address
        does not count as it, and is left as well.
        A vhost-user interface in server mode holds up libvirt's calls for this machine until the
        forwarder connects: start the forwarder's attempts before.
        """
        wanted = xml.read_interface(interface_xml)
        domain = self._connection.by_uuid(uuid)
        with translated(_where(domain)):
            missing = _Side(0)
            for side in _sides(domain):
                if not _has(_interfaces(domain, side), wanted):
                    missing |= side
            if missing:
                # One call, so that libvirt does both or neither.
                domain.attachDeviceFlags(interface_xml, missing)

    def detach(self, uuid: str, interface_xml: str, *, timeout: float = 30.0) -> None:
        """Unplug the interface that ``attach`` made and wait until the guest has released it.

        ``timeout`` is in seconds. Idempotent: also without such an interface or machine.

        Raises: TimedOut, where the guest keeps the device, as one does that is still booting.
        """
        mine = xml.read_interface(interface_xml).identity
        self._ask(uuid, _Side.CONFIG, mine)
        now = time.monotonic()
        end, ask_at, refusal = now + timeout, now, ""
        while left := self._elements(uuid, _Side.LIVE, mine):
            now = time.monotonic()
            if now >= end:
                what = f"the guest did not release {mine.mac} within {timeout:g} s"
                where = _where(left[0][0])
                raise TimedOut(f"{what}; {refusal}" if refusal else what, where=where)
            if now >= ask_at:
                # Repeated every few seconds: a busy guest may miss a request (Nova bug 1882521),
                # and libvirt refuses a second one too soon.
                try:
                    self._ask(uuid, _Side.LIVE, mine)
                except Failed as error:
                    refusal = error.what
                ask_at = time.monotonic() + _ASK_EVERY
            time.sleep(_LOOK_EVERY)

    def migrate(
        self,
        uuid: str,
        to: str,
        interfaces: Mapping[InterfaceIdentity, str],
        *,
        address: str | None,
    ) -> None:
        """Move a running machine to the libvirt at ``to``, with its definition.

        ``interfaces`` has the XML there of the interfaces that are others there.
        QEMU listens at ``address`` there, or where libvirt chooses.
        Raises: also CannotTell, where the other libvirt does not answer. A machine that could not
        be moved runs on here.
        """
        import libvirt

        domain = self._connection.by_uuid(uuid)
        there = Connection(to).open()
        with translated(_where(domain)):
            live = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)
            defined = domain.XMLDesc(
                libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_INACTIVE
            )
            params = {
                libvirt.VIR_MIGRATE_PARAM_DEST_XML: xml.with_interfaces(live, interfaces),
                libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: xml.with_interfaces(defined, interfaces),
            }
            if address is not None:
                params[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp:{address}"
                params[libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS] = address
            flags = (
                libvirt.VIR_MIGRATE_LIVE
                | libvirt.VIR_MIGRATE_PERSIST_DEST
                | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
                | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
            )
            domain.migrate3(there, params, flags)

    def _ask(self, uuid: str, side: _Side, mine: InterfaceIdentity) -> None:
        for domain, element in self._elements(uuid, side, mine):
            # It has its address on the guest's bus, by which libvirt tells two with one MAC apart.
            with translated(_where(domain)):
                domain.detachDeviceFlags(ET.tostring(element, encoding="unicode"), side)

    def _elements(
        self, uuid: str, side: _Side, mine: InterfaceIdentity
    ) -> list[tuple[libvirt.virDomain, ET.Element]]:
        """The elements of this interface; none where the machine has gone."""
        try:
            domain = self._connection.by_uuid(uuid)
            with translated(_where(domain)):
                described = _described(domain, side)
        except NotFound:
            return []
        return [(domain, element) for each, element in described if each.identity == mine]


def _sides(domain: libvirt.virDomain) -> list[_Side]:
    live = [_Side.LIVE] if domain.isActive() else []
    config = [_Side.CONFIG] if domain.isPersistent() else []
    return live + config


def _described(domain: libvirt.virDomain, side: _Side) -> tuple[tuple[Interface, ET.Element], ...]:
    import libvirt

    if side not in _sides(domain):
        return ()
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE if side == _Side.CONFIG else 0
    return xml.interfaces(domain.XMLDesc(flags))


def _interfaces(domain: libvirt.virDomain, side: _Side) -> list[Interface]:
    return [interface for interface, _ in _described(domain, side)]


def _interfaces_of(description: str) -> list[Interface]:
    return [interface for interface, _ in xml.interfaces(description)]


def _has(present: list[Interface], wanted: Interface) -> bool:
    return any(each.identity == wanted.identity for each in present)


def _where(domain: libvirt.virDomain) -> str:
    return f"virtual machine {domain.name()}"
