"""The map as a tree of text."""

from __future__ import annotations

from itertools import groupby

from rich.tree import Tree

from smartvif.status.map import HostMap, PortPath, free_vfs, unknown_vfs


def tree(found: HostMap) -> Tree:
    """PFs with the ways through their VFs, then the ways without a VF."""
    root = Tree("host")
    for view in found.pfs:
        pf = view.pf
        simulated = ", simulated" if pf.simulated else ""
        unknown = f", {unknown_vfs(view)} unknown" if unknown_vfs(view) else ""
        branch = root.add(
            f"PF {pf.address} {pf.netdev or ''} ({pf.eswitch}{simulated},"
            f" {free_vfs(view)} of {len(view.vfs)} VFs free{unknown})"
        )
        for way in found.ways:
            if way.pf == pf.address:
                branch.add(
                    f"VF {way.vf} {way.netdev or ''} → representor {way.switch_port} → {_end(way)}"
                )
    software = [way for way in found.ways if way.pf is None]
    for switch, ways in groupby(software, key=lambda way: way.switch):
        branch = root.add(f"software ports of {switch}")
        for way in ways:
            branch.add(f"{way.switch_port} → {_end(way)}")
    return root


def _end(way: PortPath) -> str:
    facts = way.port.facts
    vlan = "" if facts.vlan is None else f" vlan {facts.vlan}"
    simulated = ", ".join(facts.simulated)
    note = f"; simulated: {simulated}" if simulated else ""
    health = "" if way.port.working else f" ✗ {way.port.health}"
    return f"{way.switch}{vlan} → {way.vm} ({facts.mode}{note}){health}"
