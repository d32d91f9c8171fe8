"""Steps on a VF of a simulated SmartNIC.

On hardware libvirt sets a passed-through VF's MAC address and puts the old one back
(libvirt.org/formatdomain.html, "PCI Passthrough"), and the VF itself goes to the guest. A
simulated VF is a netdev: its address is set on it, and a tap stands in for passthrough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.model.known import Absent, Present
from smartvif.model.verdict import HOLDS, Difference, Verdict, first_of
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.links import compare_link
from smartvif.plug.steps.step import NetdevRole, Snapshot, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedVfSettings:
    """The MAC address and MTU (bytes) of a VF's netdev."""

    KIND: ClassVar[str] = "VfSettings"
    ROLE: ClassVar[NetdevRole] = NetdevRole.OWN

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
        """Set both and bring it up.

        One that the forwarder has is in its namespace, where the relay's step sets the MTU.
        """
        if drivers.links.get(self.netdev) is None:
            return
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

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Another MTU."""
        same = isinstance(new, SimulatedVfSettings) and replace(self, mtu=new.mtu) == new
        return (new,) if same else ()

    def scope(self) -> Scope:
        """The VF's netdev."""
        return Scope(links=frozenset({self.netdev}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether the VF has the address; one in the forwarder's namespace cannot be read."""
        found, subject = seen.link(self.netdev), f"VF {self.netdev}"
        if isinstance(found, Present) and found.value.mac != self.mac:
            return Difference(f"MAC address of {subject}", self.mac, found.value.mac)
        return HOLDS if isinstance(found, Absent) else compare_link(found, subject, mtu=self.mtu)

    @property
    def vf_netdev(self) -> str:
        """The VF's netdev."""
        return self.netdev

    def renamed(self, netdev: str) -> SimulatedVfSettings:
        """The same VF by another name."""
        return replace(self, netdev=netdev)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPassthrough:
    """A VF's netdev and a guest's tap joined, as if the guest had the VF. ``mtu`` in bytes."""

    KIND: ClassVar[str] = "SimulatedPassthrough"
    ROLE: ClassVar[NetdevRole] = NetdevRole.OWN

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

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Another MTU."""
        same = isinstance(new, SimulatedPassthrough) and replace(self, mtu=new.mtu) == new
        return (new,) if same else ()

    def scope(self) -> Scope:
        """Both ends."""
        return Scope(links=frozenset({self.netdev, self.tap}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether both ends are there and the tap is as it was set."""
        return first_of(
            compare_link(seen.link(self.netdev), f"VF {self.netdev}"),
            compare_link(seen.link(self.tap), f"tap {self.tap}", up=True, mtu=self.mtu),
        )

    @property
    def vf_netdev(self) -> str:
        """The VF's netdev."""
        return self.netdev

    def renamed(self, netdev: str) -> SimulatedPassthrough:
        """The same VF by another name."""
        return replace(self, netdev=netdev)
