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

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Its present address, MTU and state."""
        link = drivers.links.get(self.netdev)
        return {"mac": link.mac, "mtu": link.mtu, "up": link.up} if link else {}

    def do(self, drivers: Drivers) -> None:
        """Set both and bring it up."""
        drivers.links.set_mac(self.netdev, self.mac)
        drivers.links.set_up(self.netdev, mtu=self.mtu)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Put everything back, if the VF is still there."""
        if found and drivers.links.get(self.netdev) is not None:
            drivers.links.set_down(self.netdev)
            drivers.links.set_mac(self.netdev, found["mac"])
            drivers.links.set_mtu(self.netdev, found["mtu"])
            if found["up"]:
                drivers.links.set_up(self.netdev)

    def check(self, drivers: Drivers) -> bool:
        """Whether the VF has the address; one that the forwarder has is out of our sight."""
        link = drivers.links.get(self.netdev)
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

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Nothing to put back."""
        return {}

    def do(self, drivers: Drivers) -> None:
        """Bring the tap up and redirect each to the other."""
        drivers.links.set_up(self.tap, mtu=self.mtu)
        drivers.links.redirect(self.netdev, self.tap)
        drivers.links.redirect(self.tap, self.netdev)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """End both redirections."""
        drivers.links.end_redirect(self.netdev)
        drivers.links.end_redirect(self.tap)

    def check(self, drivers: Drivers) -> bool:
        """Whether both ends are there."""
        return all(drivers.links.get(name) is not None for name in (self.netdev, self.tap))
