"""The step that gives a switch a port."""

from __future__ import annotations

from dataclasses import dataclass

from smartvif.drivers.ovs_rows import PortSpec
from smartvif.plug.step import Found, World


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPort:
    """A port on an Open vSwitch bridge."""

    spec: PortSpec

    def describe(self) -> str:
        """Name the port and the bridge."""
        return f"add port {self.spec.name} to bridge {self.spec.bridge}"

    def find(self, world: World) -> Found:
        """Nothing: a port that is there already is either ours or refused."""
        return {}

    def do(self, world: World) -> None:
        """Add the port, and believe it when ovs-vswitchd has taken it."""
        world.ovs.add_port(self.spec)

    def undo(self, world: World, found: Found) -> None:
        """Remove the port if it is still ours."""
        world.ovs.remove_port(self.spec.name, self.spec.owner)

    def check(self, world: World) -> bool:
        """Whether the port is on its bridge, ours, and working."""
        port = world.ovs.port(self.spec.name)
        return (
            port is not None
            and port.owner == self.spec.owner
            and port.bridge == self.spec.bridge
            and port.failure is None
        )
