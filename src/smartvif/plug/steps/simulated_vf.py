"""Steps on a VF of a simulated SmartNIC.

On hardware libvirt sets a passed-through VF's MAC address and puts the old one back
(libvirt.org/formatdomain.html, "PCI Passthrough"), and the VF itself goes to the guest. A
simulated VF is a netdev: its address is set on it, and a tap stands in for passthrough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.plug.steps.step import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedVfSettings:
    """The MAC address and MTU (bytes) of a VF's netdev."""

    KIND: ClassVar[str] = "VfSettings"

    netdev: str
    mac: str
    mtu: int

    def describe(self) -> str:
        """Name the VF and its address."""
        return f"set {self.netdev} to {self.mac}"

    def find(self, world: Drivers) -> Snapshot:
        """Its present address, MTU and state."""
        link = world.links.get(self.netdev)
        return {"mac": link.mac, "mtu": link.mtu, "up": link.up} if link else {}

    def do(self, world: Drivers) -> None:
        """Set both and bring it up."""
        world.links.set_mac(self.netdev, self.mac)
        world.links.set_up(self.netdev, mtu=self.mtu)

    def undo(self, world: Drivers, found: Snapshot) -> None:
        """Put everything back, if the VF is still there."""
        if found and world.links.get(self.netdev) is not None:
            world.links.set_down(self.netdev)
            world.links.set_mac(self.netdev, found["mac"])
            world.links.set_mtu(self.netdev, found["mtu"])
            if found["up"]:
                world.links.set_up(self.netdev)

    def check(self, world: Drivers) -> bool:
        """Whether the VF has the address; one that the forwarder has is out of our sight."""
        link = world.links.get(self.netdev)
        return link is None or (link.mac == self.mac and link.mtu == self.mtu)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPassthrough:
    """A VF's netdev and a guest's tap joined, as if the guest had the VF. ``mtu`` in bytes."""

    KIND: ClassVar[str] = "SimulatedPassthrough"

    netdev: str
    tap: str
    mtu: int

    def describe(self) -> str:
        """Say that it is simulated."""
        return f"join {self.netdev} and {self.tap} (simulated passthrough)"

    def find(self, world: Drivers) -> Snapshot:
        """Nothing to put back."""
        return {}

    def do(self, world: Drivers) -> None:
        """Bring the tap up and redirect each to the other."""
        world.links.set_up(self.tap, mtu=self.mtu)
        world.links.redirect(self.netdev, self.tap)
        world.links.redirect(self.tap, self.netdev)

    def undo(self, world: Drivers, found: Snapshot) -> None:
        """End both redirections."""
        world.links.end_redirect(self.netdev)
        world.links.end_redirect(self.tap)

    def check(self, world: Drivers) -> bool:
        """Whether both ends are there."""
        return all(world.links.get(name) is not None for name in (self.netdev, self.tap))
