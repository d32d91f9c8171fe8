"""What joins a VF to a guest's vhost-user socket: the interface of every forwarder engine.

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
    """What an engine is opened with; which of these it needs, it knows itself.

    ``database`` is an OVSDB server of its own, ``netns`` the network namespace it is in, ``daemon``
    the directory of its sockets. ``timeout`` is the seconds that one call may take of it.
    """

    engine: str = ""
    database: str = ""
    netns: str = ""
    daemon: str = ""
    timeout: float = 10.0


class NamespaceLinks(Protocol):
    """The links of the engine's namespace, and what is done with them; as ``Links`` does it."""

    def get(self, name: str, /) -> Link | None:
        """The link called ``name``, or None."""

    def set_up(self, name: str, /, *, mtu: int) -> None:
        """Bring a link up, with ``mtu`` bytes."""

    def move(self, name: str, to: None, /) -> None:
        """Move a link out, to this process's own namespace."""

    def close(self) -> None:
        """Close what was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySpec:
    """One relay as it should be: the VF, the guest's socket, and what goes through.

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
    """One relay as it is.

    ``failure`` is why it does not work, in the engine's words, or None where it does. ``link_up``:
    whether the guest's driver is up. ``says`` is all that the engine says, as JSON.
    """

    failure: str | None
    link_up: bool
    says: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionCounters:
    """What went one way since the engine was started, or longer. ``drops`` did not get through.

    ``packets`` and ``bytes`` are counted where the guest is.
    """

    packets: int
    bytes: int
    drops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCounters:
    """Both ways through a relay."""

    to_guest: DirectionCounters
    from_guest: DirectionCounters


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCapacity:
    """How many relays an engine has, and how many it can have: None where nobody can tell.

    ``hugepages``: whether it takes its memory from the host's huge pages.
    """

    relays: int
    most: int | None
    hugepages: bool


class ForwarderEngine(Protocol):
    """One engine. Each call has a deadline, and raises CannotTell where there is no answer.

    A relay outlives the engine's process: whoever starts the engine again has its relays again.
    Where they are lost all the same, ``holds`` says so and ``add`` makes them anew.
    """

    def check_alive(self) -> None:
        """See that the engine is at work."""

    def capacity(self) -> EngineCapacity:
        """What it has and what it can have."""

    def add(self, spec: RelaySpec, links: LinkDriver, /) -> None:
        """Make the relay, or what is missing of it; the VF is taken from ``links``. Twice is once.

        Raises: Failed with the engine's words, TimedOut.
        """

    def remove(self, spec: RelaySpec, /) -> None:
        """Take the relay away, wholly or what there is of it, and give the VF back.

        Raises: Failed.
        """

    def matches(self, spec: RelaySpec, /) -> bool:
        """Whether the engine has the relay as ``spec`` says, and the VF, without an error."""

    def relay_spec(self, port_id: str, /) -> RelaySpec | None:
        """What the engine has been told of a port's relay, or None."""

    def state(self, port_id: str, /) -> RelayState | None:
        """How a port's relay is, or None where there is none."""

    def states(self) -> Mapping[str, RelayState]:
        """How each relay is, by its port."""

    def statistics(self, port_id: str, /) -> RelayCounters | None:
        """What a port's relay has counted up to now, or None where there is none."""
