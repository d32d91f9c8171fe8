"""The map of a host: for each port the path PF, VF, representor, bridge, machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smartvif.model.document import JsonObject
from smartvif.model.pci import PciAddress
from smartvif.status.nics import PfView
from smartvif.status.ports import PortView
from smartvif.switches.registry import title


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPath:
    """One attachment's path through the host; None for parts that it has not.

    A switch has a port on a ``bridge`` or in a ``network``.
    """

    pf: PciAddress | None
    vf: PciAddress | None
    netdev: str | None
    switch_port: str | None
    bridge: str | None
    network: str | None
    vm: str
    port: PortView

    @property
    def switch(self) -> str:
        """The switch, and what of it the port is in."""
        if self.bridge is not None:
            return self.bridge
        return f"{title(self.port.facts.switch)} {self.network}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMap:
    """All paths, and the PFs with their number of free VFs."""

    pfs: tuple[PfView, ...]
    ways: tuple[PortPath, ...]

    def as_json(self) -> JsonObject:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "pfs": [
                {
                    "address": str(view.pf.address),
                    "netdev": view.pf.netdev,
                    "simulated": view.pf.simulated,
                    "free_vfs": free_vfs(view),
                    "unknown_vfs": unknown_vfs(view),
                    "vfs": len(view.vfs),
                }
                for view in self.pfs
            ],
            "ways": [
                {
                    "pf": None if way.pf is None else str(way.pf),
                    "vf": None if way.vf is None else str(way.vf),
                    "netdev": way.netdev,
                    "switch_port": way.switch_port,
                    "bridge": way.bridge,
                    "network": way.network,
                    "vm": way.vm,
                    "mode": str(way.port.facts.mode),
                    "port": way.port.id,
                    "working": way.port.working,
                    "simulated": list(way.port.facts.simulated),
                }
                for way in self.ways
            ],
        }


def build_map(pfs: Sequence[PfView], ports: Sequence[PortView]) -> HostMap:
    """The map of PFs and ports."""
    netdevs = {view.vf.address: view.vf.netdev for pf in pfs for view in pf.vfs}
    ways = tuple(
        PortPath(
            pf=None if port.facts.vf is None else port.facts.vf.pf,
            vf=port.vf,
            netdev=netdevs.get(port.vf) if port.vf else None,
            switch_port=port.facts.switch_port,
            bridge=port.facts.bridge,
            network=port.facts.network,
            vm=port.facts.vm,
            port=port,
        )
        for port in ports
    )
    return HostMap(pfs=tuple(pfs), ways=ways)


def free_vfs(view: PfView) -> int:
    """The number of the PF's VFs that a port can have."""
    return sum(vf.free is True for vf in view.vfs)


def unknown_vfs(view: PfView) -> int:
    """The number of those of which it is unknown, and which are not given to ports."""
    return sum(vf.free is None for vf in view.vfs)
