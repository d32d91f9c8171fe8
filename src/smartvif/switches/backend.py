"""The row that describes a switch: all that the rest of smartvif has to know of it.

A row combines what is defined elsewhere: tables of bindings and VIFs (``control``), of plans and
kinds of steps (``plug``), and a driver (``drivers``). The rows of ours are in
``switches.registry``, which finds those of other packages too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from smartvif.model import traits
from smartvif.model.errors import Invalid

if TYPE_CHECKING:
    from smartvif.control.vif_parts import VifBuilder
    from smartvif.model.port import Binding, Port, VnicType
    from smartvif.model.port_spec import PortSpec
    from smartvif.model.vif import VifKind
    from smartvif.plug.plans.inputs import PlanInput
    from smartvif.plug.steps.step import Plan, Step

    VifTable = Mapping[tuple[str, VnicType], VifBuilder]
    SocketTable = Mapping[str, VifBuilder]
    PlanTable = Mapping[tuple[VifKind, bool], Callable[[PlanInput], Plan]]

D = TypeVar("D")
F = TypeVar("F")


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReading(Generic[F]):
    """What is read of a switch for a port: ``facts`` to bind it by.

    ``netdevs`` are those of ``SwitchDriver.netdevs``, where the same request has given them.
    """

    facts: F
    netdevs: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(Generic[D, F]):
    """How a command reaches this host's instance of a switch and gives it ports.

    ``settings`` is a dataclass with a default for each field, of type str, float or tuple, and
    ``section`` the section of smartvif.toml that it is read from. ``open`` makes the driver of such
    settings; it reads and changes nothing yet. Keyword arguments of it stand in for parts that take
    privileges, where a service has few.

    ``read`` reads what the port's binding follows from, given the directory of the guests' sockets;
    where the switch could not take the port, it raises NotFound, CannotTell, Failed. ``bind`` gives
    the binding that a controller would make of the port. Pure; it raises Invalid for what the
    switch cannot carry.
    """

    section: str
    settings: type
    open: Callable[..., D]
    read: Callable[[PortSpec, D, str], SwitchReading[F]]
    bind: Callable[[Port, F], Binding]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchBackend(Generic[D, F]):
    """One kind of switch.

    ``name`` is its name in ``--switch`` and the journal; ``title`` is for people. ``vif_types``
    are the values of ``binding:vif_type`` that are its own, and ``plugins`` the names of os-vif
    plugins whose VIFs are for it.

    ``requires`` and ``refuses`` are the fields of a PortSpec that it needs and that it cannot use.
    ``in_nic``: it is the card's own, which switches by address and VLAN, without representors.

    ``vifs`` has a builder for each of its VIF types and VNIC type. ``sockets`` is for the VIF type
    ``vhostuser``, which several switches share: the builder by the key of ``binding:vif_details``
    that names the switch. ``plans`` has the steps by the VIF's shape and whether a representor is
    behind it. These three are functions that import the tables, which only a plug needs: every
    command reads the rows. ``steps`` are the kinds of steps that only these plans have.

    ``access`` is None where no command gives it ports, only a controller.
    """

    name: str
    title: str
    vif_types: frozenset[str]
    plugins: frozenset[str]
    plans: Callable[[], PlanTable]
    vifs: Callable[[], VifTable]
    sockets: Callable[[], SocketTable] = dict
    steps: tuple[type[Step], ...] = ()
    requires: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    in_nic: bool = False
    access: Access[D, F] | None = None

    @property
    def host_traits(self) -> frozenset[str]:
        """The traits of a host that has it; a card has none beside its own."""
        return frozenset() if self.in_nic else frozenset({traits.datapath(self.name)})

    def check_fields(self, spec: PortSpec) -> None:
        """Check that the port has the fields that this switch needs, and none that it cannot use.

        Raises: Invalid, naming the option.
        """
        needed = " and ".join(f"--{name}" for name in sorted(self.requires))
        hint = f"say {needed}, or choose another --switch"
        for name in sorted(self.requires):
            if getattr(spec, name) is None:
                raise Invalid(
                    f"it is missing, and {self.name} needs it", where=f"--{name}", hint=hint
                )
        for name in sorted(self.refuses):
            if getattr(spec, name) is not None:
                raise Invalid(f"it means nothing to {self.name}", where=f"--{name}", hint=hint)
