"""Steps that make or set network links of the host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.netdevice import Link
from smartvif.model.known import Absent, Known, Unknown
from smartvif.model.verdict import HOLDS, Difference, Verdict, first_of
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.step import NetdevRole, Snapshot, Step


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

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Another address; the number of queues stays (drivers/net/tun.c, tun_set_iff)."""
        same = self.is_same(new) and replace(self, mac=getattr(new, "mac", "")) == new
        return (new,) if same else ()

    def is_same(self, new: Step) -> bool:
        """Whether it is the same tap."""
        return isinstance(new, Tap) and new.name == self.name

    def holder(self, drivers: Drivers, new: Step | None) -> str | None:
        """A process that has it open: it keeps a descriptor of a tap that is deleted."""
        links = drivers.links
        if links.get(self.name) is None or links.is_idle_tap(self.name):
            return None
        return f"tap {self.name} is open"

    def scope(self) -> Scope:
        """The tap."""
        return Scope(links=frozenset({self.name}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether it is there."""
        return compare_link(seen.link(self.name), f"tap {self.name}")


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

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Another MTU."""
        same = isinstance(new, HybridBridge) and replace(self, mtu=new.mtu) == new
        return (new,) if same else ()

    def scope(self) -> Scope:
        """All three links."""
        return Scope(links=frozenset({self.bridge, self.inner, self.outer}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether all three are up with that MTU."""
        return first_of(
            *(
                compare_link(seen.link(name), f"link {name}", up=True, mtu=self.mtu)
                for name in (self.bridge, self.inner, self.outer)
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp:
    """A link that a switch takes as it is: up, with ``mtu`` bytes."""

    KIND: ClassVar[str] = "LinkUp"
    ROLE: ClassVar[NetdevRole] = NetdevRole.REPRESENTOR

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

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Another MTU."""
        return (new,) if isinstance(new, LinkUp) and new.name == self.name else ()

    def scope(self) -> Scope:
        """The link."""
        return Scope(links=frozenset({self.name}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether it is up with that MTU."""
        return compare_link(seen.link(self.name), f"link {self.name}", up=True, mtu=self.mtu)

    @property
    def vf_netdev(self) -> str:
        """The representor, of a port that has a VF."""
        return self.name

    def renamed(self, netdev: str) -> LinkUp:
        """The same link by another name."""
        return replace(self, name=netdev)


def compare_link(
    found: Known[Link], subject: str, *, up: bool = False, mtu: int | None = None
) -> Verdict:
    """Whether a link is there and, where that is asked for, up and with an MTU of ``mtu`` bytes."""
    if isinstance(found, Unknown):
        return found
    if isinstance(found, Absent):
        return Difference(subject, "there", "not there")
    link = found.value
    if mtu not in (None, link.mtu):
        return Difference(f"MTU of {subject}", str(mtu), str(link.mtu))
    return Difference(subject, "up", "down") if up and not link.up else HOLDS
