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
from smartvif.model.known import Known

T = TypeVar("T")


class GuestNic(Protocol):
    """An interface of a guest."""

    @property
    def mac(self) -> str:
        """Its MAC address."""

    @property
    def live(self) -> bool:
        """Whether the running machine has it."""

    @property
    def persistent(self) -> bool:
        """Whether the machine will have it at its next start."""


class MachineState(Protocol):
    """A machine as it is."""

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
    """What a plan asks of the hypervisor."""

    def attach(self, domain: str, xml: str, /) -> None:
        """Give the domain the interface, now if it runs and whenever it starts."""

    def detach(self, domain: str, mac: str, /) -> None:
        """Take the interface away; absent is fine."""

    def read(self, domain: str, /) -> MachineState:
        """The domain as it is.

        Raises: NotFound, where there is no such domain; CannotTell, where libvirt does not answer.
        """


class SwitchDriver(Protocol):
    """What any switch's driver can be asked.

    Each call has a deadline, and raises CannotTell where the switch does not answer.
    """

    NAME: ClassVar[str]
    """What the configuration, the journal and steps call it."""
    TITLE: ClassVar[str]
    """What people call it."""

    def check_alive(self) -> None:
        """Raises: CannotTell, where the switch is not at work."""

    def simulated(self) -> bool:
        """Whether it says that it is a simulation; without an answer it is none."""

    def read_ports(self, keys: Collection[str], /) -> Mapping[str, Known[object]]:
        """Its ports by the keys that its steps know them by; one that is missing is absent.

        A port says how it is by ``SwitchPortState``.
        """

    def netdevs(self) -> Mapping[str, str]:
        """Where each netdev is that it has, in words for people: "bridge br-int"."""

    def owned_by(self, port: str, /) -> tuple[str, ...] | None:
        """The netdevs that it has for the port of that identifier; None: it does not know."""

    def remove_owned(self, port: str, /) -> None:
        """Remove what it has of the port of that identifier. Idempotent.

        Raises: Failed.
        """


class SwitchPortState(Protocol):
    """What a switch says of one of its ports.

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
        """All that it says, with stable keys."""


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
