"""The interface of every forwarder engine, which joins VFs to guests' vhost-user sockets.

A relay belongs to a port and is named by the port's identifier. It is a wire: what the guest sends
leaves by the VF, and what the VF receives goes to the guest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from smartvif.drivers.kernel.api import LinkDriver
from smartvif.drivers.kernel.netdevice import Link
from smartvif.model.pci import PciAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The options to open an engine with; each engine checks those that it needs.

    ``database`` is an OVSDB server of its own, ``netns`` the network namespace it is in, ``daemon``
    the directory of its sockets. ``timeout`` is the seconds that one call may take of it.
    """

    engine: str = ""
    database: str = ""
    netns: str = ""
    daemon: str = ""
    timeout: float = 10.0


class NamespaceLinks(Protocol):
    """The links of the engine's namespace; a part of ``Links``."""

    def get(self, name: str, /) -> Link | None:
        """The link called ``name``, or None."""

    def set_up(self, name: str, /, *, mtu: int) -> None:
        """Bring a link up, with ``mtu`` bytes."""

    def move(self, name: str, to: None, /) -> None:
        """Move a link out, to this process's own namespace."""

    def close(self) -> None:
        """Close the sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySpec:
    """The desired state of a relay: the VF, the guest's socket, MTU and queues.

    The VF is named by its ``netdev``, which the engine takes, or by its address ``pci``, where it
    is bound to a driver for user space and has no netdev. ``mtu`` is in bytes; ``queues`` is the
    number of receive queues that a VF without netdev gets.
    """

    port_id: str
    socket: str
    mtu: int
    netdev: str | None = None
    pci: PciAddress | None = None
    queues: int = 1

    @property
    def vf(self) -> str:
        """The VF, for people."""
        return self.netdev or f"VF {self.pci}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """The observed state of a relay.

    ``failure`` is why it does not work, in the engine's words, or None where it does. ``link_up``:
    whether the guest's driver is up. ``says`` is all that the engine reports, as JSON.
    """

    failure: str | None
    link_up: bool
    says: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionCounters:
    """The counters of one direction, since the engine's start or longer. ``drops`` were lost.

    ``packets`` and ``bytes`` are counted at the guest's side.
    """

    packets: int
    bytes: int
    drops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCounters:
    """The counters of both directions of a relay."""

    to_guest: DirectionCounters
    from_guest: DirectionCounters


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCapacity:
    """The number of relays of an engine, and how many it can have; None where unknown.

    ``hugepages``: whether it takes its memory from the host's huge pages.
    """

    relays: int
    most: int | None
    hugepages: bool


class ForwarderEngine(Protocol):
    """One engine. Each call has a deadline, and raises CannotTell where there is no answer.

    Relays outlive the engine's process. Where an engine loses them, ``matches`` is False and
    ``add`` makes them again.
    """

    def check_alive(self) -> None:
        """Check that the engine is at work."""

    def capacity(self) -> EngineCapacity:
        """The number of its relays, and of those that it can have."""

    def add(self, spec: RelaySpec, links: LinkDriver, /) -> None:
        """Make the relay, or what is missing of it; the VF is taken from ``links``. Idempotent.

        Raises: Failed with the engine's words, TimedOut.
        """

    def remove(self, spec: RelaySpec, /) -> None:
        """Remove the relay, also one made in part, and return the VF. Idempotent.

        Raises: Failed.
        """

    def matches(self, spec: RelaySpec, /) -> bool:
        """Whether the engine has the relay as ``spec`` describes it, with the VF, and no error."""

    def relay_spec(self, port_id: str, /) -> RelaySpec | None:
        """The desired state of a port's relay as the engine has it, or None."""

    def state(self, port_id: str, /) -> RelayState | None:
        """The observed state of a port's relay, or None where there is none."""

    def states(self) -> Mapping[str, RelayState]:
        """The observed state of each relay, by its port."""

    def statistics(self, port_id: str, /) -> RelayCounters | None:
        """The counters of a port's relay, or None where there is none."""
