"""The drivers by which one host is changed: one of each kind that is configured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

from smartvif.drivers.forwarder.engine import ForwarderEngine
from smartvif.drivers.kernel.api import LinkDriver
from smartvif.drivers.kernel.vfio import Vfio
from smartvif.host.representors import Representors
from smartvif.model.errors import CannotTell
from smartvif.model.guest_interface import InterfaceIdentity
from smartvif.model.known import Known

T = TypeVar("T")


class GuestNic(Protocol):
    """An interface of a guest."""

    @property
    def identity(self) -> InterfaceIdentity:
        """What it is known by among the machine's interfaces."""

    @property
    def link_up(self) -> bool:
        """Whether the machine's owner has not set its link down."""

    @property
    def live(self) -> bool:
        """Whether the running machine has it."""

    @property
    def persistent(self) -> bool:
        """Whether the machine will have it at its next start."""


class MachineState(Protocol):
    """A machine as it is."""

    @property
    def name(self) -> str:
        """Its present name."""

    @property
    def running(self) -> bool:
        """Whether it runs, or is paused."""

    @property
    def persistent(self) -> bool:
        """Whether it has a definition, and so a next start."""

    @property
    def interfaces(self) -> Sequence[GuestNic]:
        """What it has, and will have."""


class Hypervisor(Protocol):
    """The hypervisor, as plans use it. A machine is its UUID."""

    def attach(self, uuid: str, xml: str, /) -> None:
        """Attach the interface, to the running machine and to its definition."""

    def detach(self, uuid: str, xml: str, /) -> None:
        """Detach this interface and no other. Idempotent."""

    def read(self, uuid: str, /) -> MachineState:
        """The machine as it is.

        Raises: NotFound, where there is no such machine; CannotTell, where libvirt does not answer.
        """


class SwitchDriver(Protocol):
    """The interface of every switch's driver.

    Each call has a deadline, and raises CannotTell where the switch does not answer.
    """

    NAME: ClassVar[str]
    """Its name in the configuration, the journal and steps."""
    TITLE: ClassVar[str]
    """Its name for people."""

    def check_alive(self) -> None:
        """Check that the switch is at work. Raises: CannotTell."""

    def simulated(self) -> bool:
        """Whether it reports that it is a simulation; False without an answer."""

    def read_ports(self, keys: Collection[str], /) -> Mapping[str, Known[object]]:
        """Its ports by the keys that its steps know them by; one that is missing is absent.

        The state of a port is a ``SwitchPortState``.
        """

    def netdevs(self) -> Mapping[str, str]:
        """The place of each of its netdevs, in words for people: "bridge br-int"."""

    def owned_by(self, port: str, /) -> tuple[str, ...] | None:
        """The netdevs that it has for the port of that identifier; None where it is unknown."""

    def remove_owned(self, port: str, /) -> None:
        """Remove what it has of the port of that identifier. Idempotent.

        Raises: Failed.
        """


class SwitchPortState(Protocol):
    """The state of a switch port, as the switch reports it.

    ``link_up`` is the guest's side, None where the switch does not know. ``simulated``: the switch
    itself says that it is.
    """

    @property
    def link_up(self) -> bool | None:
        """Whether the guest's driver is up, as far as the switch can see."""

    @property
    def simulated(self) -> bool:
        """Whether the switch is a simulation."""

    def as_json(self) -> dict[str, object]:
        """All that it reports, with stable keys."""


@dataclass(kw_only=True)
class Drivers:
    """The drivers of one host. ``switches`` are by the switch's name. None: not configured."""

    links: LinkDriver
    vfio: Vfio = field(default_factory=Vfio)
    representors: Representors = field(default_factory=Representors)
    switches: Mapping[str, SwitchDriver] = field(default_factory=dict)
    forwarder: ForwarderEngine | None = None
    guests: Hypervisor | None = None

    def need(self, kind: type[T]) -> T:
        """The driver of a switch, by its class.

        Raises: CannotTell, where none is configured.
        """
        for driver in self.switches.values():
            if isinstance(driver, kind):
                return driver
        title = getattr(kind, "TITLE", kind.__name__)
        raise CannotTell(f"no {title} is configured", where=title)

    def switch(self, name: str) -> SwitchDriver:
        """The driver of the switch of that name.

        Raises: CannotTell, where none is configured.
        """
        try:
            return self.switches[name]
        except KeyError:
            raise CannotTell(f"no switch '{name}' is configured", where=name) from None

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
