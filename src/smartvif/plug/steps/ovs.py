"""The step that gives a switch a port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.plug.steps.step import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPort:
    """A port on an Open vSwitch bridge.

    Where it is a link of the host, it gets ``mtu`` bytes and is brought up when it is in the
    switch, and put back when it is out again. In this order, because ovs-vswitchd looks at all of
    its ports anew whenever a link changes: changed before, the plug would wait for that too.
    """

    KIND: ClassVar[str] = "SwitchPort"

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
        """Add the port, and believe it when ovs-vswitchd has taken it."""
        drivers.need_ovs().add_port(self.spec)
        if self.mtu is not None:
            drivers.links.set_up(self.spec.name, mtu=self.mtu)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Remove the port if it is still ours, and put the link back if it is still there."""
        drivers.need_ovs().remove_port(self.spec.name, self.spec.owner)
        if found and drivers.links.get(self.spec.name) is not None:
            drivers.links.set_mtu(self.spec.name, found["mtu"])
            if not found["up"]:
                drivers.links.set_down(self.spec.name)

    def check(self, drivers: Drivers) -> bool:
        """Whether the port is on its bridge, ours, and working or awaited, and the link up."""
        port = drivers.need_ovs().port(self.spec.name)
        in_switch = (
            port is not None
            and port.owner == self.spec.owner
            and port.bridge == self.spec.bridge
            and (port.failure is None or self.spec.may_fail_with(port.error))
        )
        if self.mtu is None:
            return in_switch
        link = drivers.links.get(self.spec.name)
        return in_switch and link is not None and link.up and link.mtu == self.mtu
