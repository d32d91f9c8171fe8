"""What a plan is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from smartvif.drivers.engine import Engine
from smartvif.drivers.netlink import Links
from smartvif.drivers.ovs import OpenVSwitch
from smartvif.drivers.vfio import Vfio
from smartvif.drivers.vrouter_agent import VRouterAgent
from smartvif.model.errors import CannotTell

Found = dict[str, Any]
"""What a step found before it acted, as JSON can hold it. Its undo puts that back."""


class HasMac(Protocol):
    """An interface of a guest."""

    @property
    def mac(self) -> str:
        """Its MAC address."""


class Guests(Protocol):
    """What a plan asks of the hypervisor."""

    def attach(self, domain: str, xml: str, /) -> None:
        """Give the domain the interface, now if it runs and whenever it starts."""

    def detach(self, domain: str, mac: str, /) -> None:
        """Take the interface away; absent is fine."""

    def interfaces(self, domain: str, /) -> Sequence[HasMac]:
        """What the domain has.

        Raises: NotFound, where there is no such domain.
        """


@dataclass(kw_only=True)
class World:
    """The drivers by which steps act on one host. What a host lacks is None."""

    links: Links
    vfio: Vfio = field(default_factory=Vfio)
    ovs: OpenVSwitch | None = None
    vrouter: VRouterAgent | None = None
    forwarder: Engine | None = None
    guests: Guests | None = None

    def need_ovs(self) -> OpenVSwitch:
        """Open vSwitch.

        Raises: CannotTell, where none is configured.
        """
        if self.ovs is None:
            raise CannotTell("no Open vSwitch is configured", where="Open vSwitch")
        return self.ovs

    def need_vrouter(self) -> VRouterAgent:
        """The vRouter's agent.

        Raises: CannotTell, where none is configured.
        """
        if self.vrouter is None:
            raise CannotTell("no vRouter is configured", where="vRouter")
        return self.vrouter

    def need_forwarder(self) -> Engine:
        """The forwarder's engine.

        Raises: CannotTell, where none is configured.
        """
        if self.forwarder is None:
            raise CannotTell(
                "no forwarder is configured",
                where="forwarder",
                hint="set 'database' and 'netns' in the [forwarder] section of the configuration",
            )
        return self.forwarder

    def need_guests(self) -> Guests:
        """The hypervisor.

        Raises: CannotTell, where there is none.
        """
        if self.guests is None:
            raise CannotTell("there is no hypervisor to ask", where="libvirt")
        return self.guests


class Step(Protocol):
    """One act and its inverse, as a frozen value whose fields JSON can hold.

    ``find`` is written to the journal before ``do``, so that ``undo`` can put things back even
    when the process died in between. ``undo`` follows a ``do`` that may have happened wholly, in
    part or not at all, and takes absence as done.
    """

    KIND: ClassVar[str]
    """Its name in the journal, which stays whatever the class is called."""

    def describe(self) -> str:
        """What it does, as a clause for people."""

    def find(self, world: World) -> Found:
        """What ``undo`` will have to put back. Reads only."""

    def do(self, world: World) -> None:
        """Act; twice is once."""

    def undo(self, world: World, found: Found) -> None:
        """Put back what was found."""

    def check(self, world: World) -> bool:
        """Whether what ``do`` makes is there. Reads only."""


Plan = tuple[Step, ...]
