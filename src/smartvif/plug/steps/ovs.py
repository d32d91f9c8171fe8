"""The step that adds a port to Open vSwitch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.unix_sockets import is_served
from smartvif.drivers.ovs.rows import SERVER_PATH, OvsPortSpec, OvsPortState
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.known import Absent, Known, Unknown
from smartvif.model.verdict import HOLDS, Difference, Verdict, first_of
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.links import compare_link
from smartvif.plug.steps.step import NetdevRole, Snapshot, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPort:
    """A port on an Open vSwitch bridge.

    A link of the host gets ``mtu`` bytes and is brought up after the port is in the switch, and is
    restored after the port is removed. In this order, because ovs-vswitchd reads all of its ports
    again whenever a link changes: changed before, the plug would wait for that too.
    """

    KIND: ClassVar[str] = "SwitchPort"
    ROLE: ClassVar[NetdevRole] = NetdevRole.REPRESENTOR

    spec: OvsPortSpec
    mtu: int | None = None

    def describe(self) -> str:
        """Name the port and the bridge."""
        return f"add port {self.spec.name} to bridge {self.spec.bridge}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """The link's MTU and whether it is up."""
        link = drivers.links.get(self.spec.name) if self.mtu is not None else None
        return {"mtu": link.mtu, "up": link.up} if link else {}

    def do(self, drivers: Drivers) -> None:
        """Add the port, and wait until ovs-vswitchd confirms it."""
        drivers.need(OpenVSwitch).add_port(self.spec)
        if self.mtu is not None:
            drivers.links.set_up(self.spec.name, mtu=self.mtu)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Remove the port if it is still ours, and put the link back if it is still there."""
        drivers.need(OpenVSwitch).remove_port(self.spec.name, self.spec.owner)
        if found and drivers.links.get(self.spec.name) is not None:
            drivers.links.set_mtu(self.spec.name, found["mtu"])
            if not found["up"]:
                drivers.links.set_down(self.spec.name)

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Other values of the same rows. A VLAN that becomes another program's is removed first."""
        if not isinstance(new, SwitchPort) or not self.is_same(new) or _path(new) != _path(self):
            return ()
        if self.spec.tag is not None and new.spec.vlan is None:
            return replace(new, spec=replace(new.spec, no_vlan=True)), new
        return (new,)

    def is_same(self, new: Step) -> bool:
        """Whether it is the same port, of the same type, on the same bridge."""
        return isinstance(new, SwitchPort) and _row(new.spec) == _row(self.spec)

    def holder(self, drivers: Drivers, new: Step | None) -> str | None:
        """A process that listens where the switch connects to, which the other step does not."""
        path = _path(self)
        if path is None or path == _path(new) or not is_served(path):
            return None
        return f"a process listens at {path}"

    def scope(self) -> Scope:
        """The port, and its link where that is set."""
        links = frozenset() if self.mtu is None else frozenset({self.spec.name})
        return Scope(switch_ports=frozenset({(OpenVSwitch.NAME, self.spec.name)}), links=links)

    def compare(self, seen: Observation) -> Verdict:
        """Whether the port is on its bridge, ours, as it was made, and the link up."""
        in_switch = self._compare_port(seen.switch_port(OpenVSwitch.NAME, self.spec.name))
        if self.mtu is None:
            return in_switch
        name = self.spec.name
        return first_of(
            in_switch, compare_link(seen.link(name), f"link {name}", up=True, mtu=self.mtu)
        )

    @property
    def vf_netdev(self) -> str:
        """The representor, of a port that has a VF."""
        return self.spec.name

    def renamed(self, netdev: str) -> SwitchPort:
        """The same port on the same netdev by another name."""
        return replace(self, spec=replace(self.spec, name=netdev))

    def _compare_port(self, found: Known[object]) -> Verdict:
        spec = self.spec
        subject = f"switch port {spec.name}"
        if isinstance(found, Unknown):
            return found
        if isinstance(found, Absent):
            return Difference(subject, f"on bridge {spec.bridge}", "not in the switch")
        port = found.value
        assert isinstance(port, OvsPortState)
        return first_of(
            _differs(subject, f"on bridge {spec.bridge}", f"on bridge {port.bridge}"),
            _differs(subject, f"of {spec.owner}", f"of {port.owner or 'something else'}"),
            self._compare_failure(port),
            self._compare_vlan(port),
            self._compare_mtu_request(port),
        )

    def _compare_failure(self, port: OvsPortState) -> Verdict:
        if port.failure is None or self.spec.may_fail_with(port.error):
            return HOLDS
        there = f"Open vSwitch says: {port.failure}"
        return Difference(f"switch port {self.spec.name}", "working", there)

    def _compare_vlan(self, port: OvsPortState) -> Verdict:
        wanted = self.spec.vlan
        if wanted is None or port.vlan.is_as(wanted):
            return HOLDS
        return Difference(f"VLAN of switch port {self.spec.name}", str(wanted), str(port.vlan))

    def _compare_mtu_request(self, port: OvsPortState) -> Verdict:
        """ovs-vswitchd sets the link's MTU to it whenever that changes."""
        wanted, there = self.spec.mtu_request, port.mtu_request
        if there == wanted or (there is not None and there == self.mtu):
            return HOLDS
        subject = f"mtu_request of switch port {self.spec.name}"
        return Difference(subject, str(wanted or "none"), str(there or "none"))


def _row(spec: OvsPortSpec) -> tuple[str, str, str, str]:
    return spec.bridge, spec.name, spec.owner, spec.type


def _path(step: Step | None) -> str | None:
    """The socket that a guest serves and the switch connects to."""
    return step.spec.options.get(SERVER_PATH) if isinstance(step, SwitchPort) else None


def _differs(subject: str, wanted: str, there: str) -> Verdict:
    return HOLDS if wanted == there else Difference(subject, wanted, there)
