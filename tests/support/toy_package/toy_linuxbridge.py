"""A third switch, as another package has it: a plain Linux bridge, with the guests' taps on it.

This file and an entry point are all that there is of it; no line of smartvif's own knows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pyroute2 import IPRoute

from smartvif.control import names
from smartvif.control.unsupported import unsupported
from smartvif.control.vif_parts import on_bridge, start
from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import NotFound, Refused
from smartvif.model.known import Absent, Known, Present, Unknown
from smartvif.model.port import Binding, Port, VnicType
from smartvif.model.port_spec import PortSpec
from smartvif.model.verdict import HOLDS, Difference, Verdict
from smartvif.model.vif import Vif, VifKind
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.plans.inputs import PlanInput
from smartvif.plug.steps.links import LinkUp
from smartvif.plug.steps.step import NetdevRole, Plan, Snapshot
from smartvif.switches.backend import Access, SwitchBackend, SwitchReading

NAME = "linuxbridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxBridgeSettings:
    """``bridges`` are those that ports may be put on."""

    bridges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort:
    """A netdev on a bridge, as it is asked for and as it is."""

    netdev: str
    bridge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePortState:
    """What the kernel says of a bridge's port."""

    port: BridgePort
    link_up: bool | None
    simulated: bool = False

    def as_json(self) -> dict[str, object]:
        """With stable keys."""
        return {"netdev": self.port.netdev, "bridge": self.port.bridge}


class LinuxBridges:
    """The kernel's bridges, spoken to by rtnetlink(7)."""

    NAME: ClassVar[str] = NAME
    TITLE: ClassVar[str] = "Linux bridge"

    def __init__(self, settings: LinuxBridgeSettings) -> None:
        self.settings = settings

    def check_alive(self) -> None:
        """The kernel is at work."""

    def simulated(self) -> bool:
        """It is the kernel's own, also on a simulated host."""
        return False

    def read_ports(self, keys: Collection[str]) -> Mapping[str, Known[object]]:
        """The ports by their netdevs."""
        return {name: Present(state) for name, state in self._ports().items() if name in keys}

    def netdevs(self) -> Mapping[str, str]:
        """The bridge that each netdev is on."""
        return {name: f"Linux bridge {state.port.bridge}" for name, state in self._ports().items()}

    def owned_by(self, port: str) -> tuple[str, ...]:
        """The tap named after the port."""
        return tuple(name for name in self._ports() if name == names.tap(port))

    def remove_owned(self, port: str) -> None:
        """Take that tap off its bridge."""
        self.release(names.tap(port))

    def check_bridge(self, bridge: str) -> None:
        """Raises: Refused, for a bridge that is not configured; NotFound."""
        if bridge not in self.settings.bridges:
            raise Refused(
                f"bridge '{bridge}' is not for ports", where=NAME, hint="see [linuxbridge]"
            )
        with IPRoute() as route:
            if not route.link_lookup(ifname=bridge, kind="bridge"):
                raise NotFound(f"there is no bridge '{bridge}'", where=NAME, hint="see: ip link")

    def release(self, netdev: str) -> None:
        """Take a netdev off its bridge; absent is fine."""
        with IPRoute() as route:
            for index in route.link_lookup(ifname=netdev):
                route.link("set", index=index, master=0)

    def _ports(self) -> dict[str, BridgePortState]:
        with IPRoute() as route:
            links = {link["index"]: link for link in route.get_links()}
        return {
            link.get_attr("IFLA_IFNAME"): _state(link, links[master])
            for link in links.values()
            if (master := link.get_attr("IFLA_MASTER")) in links
            and links[master].get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "bridge"
        }


def _state(link: Any, bridge: Any) -> BridgePortState:
    port = BridgePort(netdev=link.get_attr("IFLA_IFNAME"), bridge=bridge.get_attr("IFLA_IFNAME"))
    return BridgePortState(port=port, link_up=bool(link.get_attr("IFLA_CARRIER")))


@dataclass(frozen=True, slots=True, kw_only=True)
class OnLinuxBridge:
    """A netdev on a Linux bridge."""

    KIND: ClassVar[str] = "OnLinuxBridge"
    ROLE: ClassVar[NetdevRole] = NetdevRole.REPRESENTOR

    port: BridgePort

    def describe(self) -> str:
        """Name both."""
        return f"put {self.port.netdev} on Linux bridge {self.port.bridge}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Nothing: a netdev that was on another bridge is taken off this one, no more."""
        return {}

    def do(self, drivers: Drivers) -> None:
        """Enslave it. Idempotent."""
        drivers.links.set_master(self.port.netdev, self.port.bridge)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Release it."""
        drivers.need(LinuxBridges).release(self.port.netdev)

    def scope(self) -> Scope:
        """The bridge's port."""
        return Scope(switch_ports=frozenset({(NAME, self.port.netdev)}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether it is on that bridge."""
        found = seen.switch_port(NAME, self.port.netdev)
        if isinstance(found, Unknown):
            return found
        subject, wanted = f"switch port {self.port.netdev}", f"on bridge {self.port.bridge}"
        if isinstance(found, Absent):
            return Difference(subject, wanted, "on no bridge")
        assert isinstance(found.value, BridgePortState)
        there = found.value.port.bridge
        return HOLDS if there == self.port.bridge else Difference(subject, wanted, f"on {there}")

    @property
    def vf_netdev(self) -> str:
        """The representor, of a port that has a VF."""
        return self.port.netdev

    def renamed(self, netdev: str) -> OnLinuxBridge:
        """The same netdev by another name."""
        return replace(self, port=replace(self.port, netdev=netdev))


def _read(spec: PortSpec, driver: LinuxBridges, sockets: str) -> SwitchReading[str]:
    assert spec.bridge is not None  # it is required
    driver.check_bridge(spec.bridge)
    return SwitchReading(facts=spec.bridge)


def _bind(port: Port, bridge: str) -> Binding:
    if port.vnic_type is not VnicType.NORMAL:
        raise unsupported(port, LinuxBridges.TITLE)
    return Binding(vif_type=NAME, details={"bridge_name": bridge})


def _vif(port: Port, binding: Binding) -> Vif:
    vif = on_bridge(start(port, binding, VifKind.GENERIC, NAME), port, binding)
    return replace(vif, vif_name=names.tap(port.id))


def _tap(case: PlanInput) -> Plan:
    tap, bridge = case.tap(), case.vif.network.bridge
    assert bridge is not None  # its VIF is on one
    on = OnLinuxBridge(port=BridgePort(netdev=tap.name, bridge=bridge))
    return tap, LinkUp(name=tap.name, mtu=case.mtu), on


BACKEND = SwitchBackend(
    name=NAME,
    title=LinuxBridges.TITLE,
    vif_types=frozenset({NAME}),
    plugins=frozenset({NAME}),
    requires=frozenset({"bridge"}),
    refuses=frozenset({"network", "vlan"}),
    vifs=lambda: {(NAME, VnicType.NORMAL): _vif},
    plans=lambda: {(VifKind.GENERIC, False): _tap},
    steps=(OnLinuxBridge,),
    access=Access(
        section=NAME, settings=LinuxBridgeSettings, open=LinuxBridges, read=_read, bind=_bind
    ),
)
