"""The drivers by which one host is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from smartvif.drivers.forwarder.engine import ForwarderEngine
from smartvif.drivers.kernel.api import LinkDriver
from smartvif.drivers.kernel.vfio import Vfio
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.model.errors import CannotTell


class GuestNic(Protocol):
    """An interface of a guest."""

    @property
    def mac(self) -> str:
        """Its MAC address."""


class Hypervisor(Protocol):
    """What a plan asks of the hypervisor."""

    def attach(self, domain: str, xml: str, /) -> None:
        """Give the domain the interface, now if it runs and whenever it starts."""

    def detach(self, domain: str, mac: str, /) -> None:
        """Take the interface away; absent is fine."""

    def interfaces(self, domain: str, /) -> Sequence[GuestNic]:
        """What the domain has.

        Raises: NotFound, where there is no such domain.
        """


@dataclass(kw_only=True)
class Drivers:
    """The drivers by which steps act on one host. What a host lacks is None."""

    links: LinkDriver
    vfio: Vfio = field(default_factory=Vfio)
    ovs: OpenVSwitch | None = None
    vrouter: VRouterAgent | None = None
    forwarder: ForwarderEngine | None = None
    guests: Hypervisor | None = None

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

    def need_forwarder(self) -> ForwarderEngine:
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

    def need_guests(self) -> Hypervisor:
        """The hypervisor.

        Raises: CannotTell, where there is none.
        """
        if self.guests is None:
            raise CannotTell("there is no hypervisor to ask", where="libvirt")
        return self.guests
