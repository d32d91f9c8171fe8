"""Steps that make or set network links of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.plug.steps.step import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """A TAP for the hypervisor to open."""

    KIND: ClassVar[str] = "Tap"

    name: str
    mac: str
    multi_queue: bool = False

    def describe(self) -> str:
        """Name the tap."""
        return f"create tap {self.name}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Whether it is there already: then it is not ours to delete."""
        return {"existed": drivers.links.get(self.name) is not None}

    def do(self, drivers: Drivers) -> None:
        """Create it."""
        if drivers.links.get(self.name) is None:
            drivers.links.add_tap(self.name, multi_queue=self.multi_queue)
        # The guest's address, with the first byte that libvirt gives a host's end: were both the
        # same, the host would take the guest's frames for its own.
        drivers.links.set_mac(self.name, f"fe{self.mac[2:]}")

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Delete it if we created it."""
        if not found["existed"]:
            drivers.links.delete(self.name)

    def check(self, drivers: Drivers) -> bool:
        """Whether it is there."""
        return drivers.links.get(self.name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridBridge:
    """A Linux bridge for a firewall, joined by a veth to the switch. ``mtu`` in bytes."""

    KIND: ClassVar[str] = "HybridBridge"

    bridge: str
    inner: str
    outer: str
    mtu: int

    def describe(self) -> str:
        """Name the bridge."""
        return f"create bridge {self.bridge} with {self.inner} to {self.outer}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Which of them are there already: those are not ours to delete."""
        return {
            "bridge": drivers.links.get(self.bridge) is not None,
            "veth": drivers.links.get(self.outer) is not None,
        }

    def do(self, drivers: Drivers) -> None:
        """Create both and join them."""
        links = drivers.links
        if links.get(self.bridge) is None:
            links.add_bridge(self.bridge)
        if links.get(self.outer) is None:
            links.add_veth(self.outer, self.inner)
        links.set_master(self.inner, self.bridge)
        for name in (self.inner, self.outer, self.bridge):
            links.set_up(name, mtu=self.mtu)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Delete what we created."""
        if not found["veth"]:
            drivers.links.delete(self.outer)
        if not found["bridge"]:
            drivers.links.delete(self.bridge)

    def check(self, drivers: Drivers) -> bool:
        """Whether all three are up."""
        found = [drivers.links.get(name) for name in (self.bridge, self.inner, self.outer)]
        return all(link is not None and link.up for link in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp:
    """A link that a switch takes as it is: up, with ``mtu`` bytes."""

    KIND: ClassVar[str] = "LinkUp"

    name: str
    mtu: int

    def describe(self) -> str:
        """Name the link."""
        return f"bring {self.name} up with MTU {self.mtu}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Its present MTU, and whether it is up."""
        link = drivers.links.get(self.name)
        return {"mtu": link.mtu, "up": link.up} if link else {}

    def do(self, drivers: Drivers) -> None:
        """Set both."""
        drivers.links.set_up(self.name, mtu=self.mtu)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Put both back, if it is still there."""
        if found and drivers.links.get(self.name) is not None:
            drivers.links.set_mtu(self.name, found["mtu"])
            if not found["up"]:
                drivers.links.set_down(self.name)

    def check(self, drivers: Drivers) -> bool:
        """Whether it is up with that MTU."""
        link = drivers.links.get(self.name)
        return link is not None and link.up and link.mtu == self.mtu
