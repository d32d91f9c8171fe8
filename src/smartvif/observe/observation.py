"""Observations of a host, and scopes of what to observe: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from smartvif.drivers.drivers import MachineState
from smartvif.drivers.forwarder.engine import RelaySpec, RelayState
from smartvif.drivers.kernel.netdevice import Link
from smartvif.host.sriov import Vf
from smartvif.host.vf_info import VfAdmin
from smartvif.model.known import NOT_READ, Known
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import VfIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The parts of a host to read; ``|`` joins two scopes.

    ``links`` are netdevs by name, ``functions`` VFs with their driver and netdev. ``names`` are VFs
    whose netdevs are to be found: the representor, the VF's own, the PF's. ``vf_settings`` are
    VFs by the PF's netdev and their number. ``switch_ports`` are keys of a switch's ports, by the
    switch's name. ``machines`` are libvirt's, by UUID.
    """

    links: frozenset[str] = frozenset()
    functions: frozenset[PciAddress] = frozenset()
    names: frozenset[VfIdentity] = frozenset()
    vf_settings: frozenset[tuple[str, int]] = frozenset()
    switch_ports: frozenset[tuple[str, str]] = frozenset()
    relays: frozenset[RelaySpec] = frozenset()
    machines: frozenset[str] = frozenset()

    def __or__(self, other: Scope) -> Scope:
        both = {each.name: getattr(self, each.name) | getattr(other, each.name) for each in _PARTS}
        return Scope(**both)


_PARTS = fields(Scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class VfNames:
    """The netdevs that a VF has now: ``representor`` in the switch, ``netdev`` its own, and its
    PF's ``uplink``.
    """

    representor: Known[str] = NOT_READ
    netdev: Known[str] = NOT_READ
    uplink: Known[str] = NOT_READ


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayReading:
    """A relay: whether it matches its specification, and its state, None where there is none."""

    matches: bool
    state: RelayState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The parts that were read. A part outside of the scope is unknown."""

    links: Mapping[str, Known[Link]] = field(default_factory=dict)
    functions: Mapping[PciAddress, Known[Vf]] = field(default_factory=dict)
    names: Mapping[PciAddress, VfNames] = field(default_factory=dict)
    vf_settings: Mapping[tuple[str, int], Known[VfAdmin]] = field(default_factory=dict)
    switch_ports: Mapping[tuple[str, str], Known[object]] = field(default_factory=dict)
    relays: Mapping[RelaySpec, Known[RelayReading]] = field(default_factory=dict)
    machines: Mapping[str, Known[MachineState]] = field(default_factory=dict)

    def link(self, name: str) -> Known[Link]:
        """The netdev of that name."""
        return self.links.get(name, NOT_READ)

    def function(self, address: PciAddress) -> Known[Vf]:
        """The VF at that address."""
        return self.functions.get(address, NOT_READ)

    def names_of(self, vf: VfIdentity) -> VfNames:
        """The netdevs of a VF."""
        return self.names.get(vf.address, VfNames())

    def vf_setting(self, pf: str, number: int) -> Known[VfAdmin]:
        """The settings that the PF with that netdev has for its VF of that number."""
        return self.vf_settings.get((pf, number), NOT_READ)

    def switch_port(self, switch: str, key: str) -> Known[object]:
        """A switch's port; its type is the switch's own."""
        return self.switch_ports.get((switch, key), NOT_READ)

    def relay(self, spec: RelaySpec) -> Known[RelayReading]:
        """A forwarder's relay."""
        return self.relays.get(spec, NOT_READ)

    def machine(self, uuid: str) -> Known[MachineState]:
        """A machine of libvirt's, whatever it is called."""
        return self.machines.get(uuid, NOT_READ)
