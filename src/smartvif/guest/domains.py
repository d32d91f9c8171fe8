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
from smartvif.model.errors import Failed, NotFound, Refused, TimedOut
from smartvif.model.pci import PciAddress

if TYPE_CHECKING:
    import libvirt

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


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReading:
    """A machine with its interfaces, the running machine's first.

    ``persistent``: it has a definition; one that has not is gone when it stops.
    """

    running: bool
    persistent: bool
    interfaces: tuple[GuestInterface, ...]


class Domains:
    """The virtual machines of the libvirt at ``uri``.

    Every method raises CannotTell where libvirt does not answer and Failed, with libvirt's words,
    where it refuses; all but ``exists`` and ``detach`` raise NotFound where no machine has the
    name.
    """

    def __init__(self, uri: str) -> None:
        self._connection = Connection(uri)

    def names(self) -> tuple[str, ...]:
        """All machines, running or not."""
        return tuple(sorted(self._connection.domains()))

    def exists(self, name: str) -> bool:
        """Whether there is such a machine, running or not."""
        return name in self._connection.domains()

    def uuid(self, name: str) -> str:
        """Its UUID, as text with dashes."""
        domain = self._connection.domain(name)
        with translated(_where(name)):
            return str(domain.UUIDString())

    def running(self, name: str) -> bool:
        """Whether it runs (or is paused), rather than being only defined."""
        domain = self._connection.domain(name)
        with translated(_where(name)):
            return bool(domain.isActive())

    def shared_memory(self, name: str) -> bool:
        """Whether its memory can be shared with a vhost-user forwarder: without, no traffic."""
        domain = self._connection.domain(name)
        with translated(_where(name)):
            return xml.shares_memory(domain.XMLDesc())

    def nodes(self, name: str) -> frozenset[int]:
        """The host's NUMA nodes that it is bound to; empty where it is bound to none."""
        from smartvif.guest import affinity
        from smartvif.host import numa

        domain = self._connection.domain(name)
        with translated(_where(name)):
            return affinity.nodes(domain.XMLDesc(), numa.nodes())

    def passed_through(self) -> dict[PciAddress, str]:
        """The host's PCI devices that machines have, with the machine's name."""
        owners = {}
        for name, domain in self._connection.domains().items():
            with translated(_where(name)):
                owners.update(dict.fromkeys(xml.pci_devices(domain.XMLDesc()), name))
        return owners

    def interfaces(self, name: str) -> tuple[GuestInterface, ...]:
        """All its interfaces: the running machine's first, then those of its next start only."""
        return self.read(name).interfaces

    def read(self, name: str) -> MachineReading:
        """The machine as it is."""
        domain = self._connection.domain(name)
        with translated(_where(name)):
            sides = _sides(domain)
            live, config = (_interfaces(domain, side) for side in (_Side.LIVE, _Side.CONFIG))
        interfaces = tuple(
            GuestInterface(
                mac=interface.mac,
                kind=interface.kind,
                source=interface.source,
                target=interface.target,
                live=_has(live, interface),
                persistent=_has(config, interface),
            )
            for interface in live + [each for each in config if not _has(live, each)]
        )
        return MachineReading(
            running=_Side.LIVE in sides, persistent=_Side.CONFIG in sides, interfaces=interfaces
        )

    def attach(self, name: str, interface_xml: str) -> None:
        """Plug an interface in: into the running machine and into its definition, as there are.

        An interface that is there already, by its MAC address and source, is left as it is.
        A vhost-user interface in server mode holds up libvirt's calls for this machine until the
        forwarder connects: start the forwarder's attempts before.

        Raises: Refused, where the MAC address is taken by an interface with another source.
        """
        wanted = xml.read_interface(interface_xml)
        domain = self._connection.domain(name)
        with translated(_where(name)):
            missing = _Side(0)
            for side in _sides(domain):
                present = _interfaces(domain, side)
                if not _has(present, wanted):
                    _refuse_taken(name, wanted.mac, present)
                    missing |= side
            if missing:
                # One call, so that libvirt does both or neither.
                domain.attachDeviceFlags(interface_xml, missing)

    def detach(self, name: str, mac: str, *, timeout: float = 30.0) -> None:
        """Unplug the interface with this MAC address and wait until the guest has released it.

        ``timeout`` is in seconds. Idempotent: also without such an interface or machine.

        Raises: TimedOut, where the guest keeps the device, as one does that is still booting.
        """
        self._ask(name, _Side.CONFIG, mac)
        now = time.monotonic()
        end, ask_at, refusal = now + timeout, now, ""
        while self._elements(name, _Side.LIVE, mac):
            now = time.monotonic()
            if now >= end:
                what = f"the guest did not release {mac} within {timeout:g} s"
                raise TimedOut(f"{what}; {refusal}" if refusal else what, where=_where(name))
            if now >= ask_at:
                # Repeated every few seconds: a busy guest may miss a request (Nova bug 1882521),
                # and libvirt refuses a second one too soon.
                try:
                    self._ask(name, _Side.LIVE, mac)
                except Failed as error:
                    refusal = error.what
                ask_at = time.monotonic() + _ASK_EVERY
            time.sleep(_LOOK_EVERY)

    def migrate(
        self, name: str, to: str, interfaces: Mapping[str, str], *, address: str | None
    ) -> None:
        """Move a running machine to the libvirt at ``to``, with its definition.

        ``interfaces`` has the XML of the interfaces that are others there, by their MAC addresses.
        QEMU listens at ``address`` there, or where libvirt chooses.
        Raises: also CannotTell, where the other libvirt does not answer. A machine that could not
        be moved runs on here.
        """
        import libvirt

        domain = self._connection.domain(name)
        there = Connection(to).open()
        with translated(_where(name)):
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

    def _ask(self, name: str, side: _Side, mac: str) -> None:
        for domain, element in self._elements(name, side, mac):
            with translated(_where(name)):
                domain.detachDeviceFlags(ET.tostring(element, encoding="unicode"), side)

    def _elements(
        self, name: str, side: _Side, mac: str
    ) -> list[tuple[libvirt.virDomain, ET.Element]]:
        """The elements with this MAC address; none where the machine has gone."""
        try:
            domain = self._connection.domain(name)
            with translated(_where(name)):
                described = _described(domain, side)
        except NotFound:
            return []
        return [(domain, element) for each, element in described if each.mac == mac.lower()]


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


def _has(present: list[Interface], wanted: Interface) -> bool:
    """Whether it is among them; a target does not count, as libvirt may choose one."""
    return any(
        (each.mac, each.kind, each.source) == (wanted.mac, wanted.kind, wanted.source)
        for each in present
    )


def _refuse_taken(name: str, mac: str, present: list[Interface]) -> None:
    for each in present:
        if each.mac == mac:
            raise Refused(
                f"the MAC address {mac} is taken by its {each.kind} interface on {each.source}",
                where=_where(name),
                hint="detach that one first, or take another MAC address",
            )


def _where(name: str) -> str:
    return f"virtual machine {name}"
