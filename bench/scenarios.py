"""What is measured, and what is printed of it."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from cases import Case, Kind
from rig import Rig
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import write_sysfs
from smartvif.sim.process import namespaces
from vrouter_rig import VRouterRig

PLUG, BURST, LOOK_UP, VROUTER_PLUG = 0.35, 0.10, 0.01, 0.05
"""The targets: our time as a part of the peer's."""

VFS = 64  # of the card whose VFs are plugged
_TREES = Path("/run/bench-sysfs")
_MODES = {Kind.TAP: "normal", Kind.REPRESENTOR: "direct"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement: medians in seconds, and what is to be said where ``target`` is missed."""

    what: str
    ours: float
    peer: float
    floor: float | None = None
    target: float | None = None
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Our time as a part of the peer's."""
        return self.ours / self.peer


def single(rig: Rig, kind: Kind, rounds: int) -> list[Row]:
    """Plug one port and unplug it, over and over."""
    seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    parts: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(-1, rounds):  # the first round is not counted: connections, caches
        case = Case(kind=kind, number=number % VFS)
        for side in rig.in_turn(number):
            plugged, _ = side.call("plug", case)
            rig.see_plugged(side, [case])
            unplugged, _ = side.call("unplug", case)
            rig.see_unplugged(side)
            if number >= 0:
                seconds[side.name, "plug"].append(plugged)
                seconds[side.name, "unplug"].append(unplugged)
        _, spent = rig.watched.call("parts", "plug", case)
        rig.watched.call("unplug", case)
        rig.see_unplugged(rig.watched)
        if number >= 0:
            for part, value in spent.items():
                parts[part].append(value)

    def row(verb: str, target: float | None, spent: dict[str, float]) -> Row:
        return Row(
            what=f"{kind} {verb}, {rig.others} other ports",
            ours=median(seconds["smartvif", verb]),
            peer=median(seconds["os-vif", verb]),
            floor=median(seconds["floor", verb]),
            target=target,
            parts=spent,
        )

    spent = {part: median(values) for part, values in parts.items()}
    return [row("plug", PLUG, spent), row("unplug", None, {})]


def vrouter(rig: VRouterRig, kind: Kind, rounds: int) -> list[Row]:
    """Plug one port of the vRouter and unplug it, over and over."""
    seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(-1, rounds):  # the first round is not counted: connections, caches
        case = Case(kind=kind, number=number % VFS)
        for side in rig.in_turn(number):
            rig.prepare(side, case)
            plugged, _ = side.call("plug", case)
            rig.see_plugged(side, case)
            unplugged, _ = side.call("unplug", case)
            rig.see_unplugged(side, case)
            if number >= 0:
                seconds[side.name, "plug"].append(plugged)
                seconds[side.name, "unplug"].append(unplugged)

    def row(verb: str, target: float | None) -> Row:
        ours, floor = median(seconds["smartvif", verb]), median(seconds["floor", verb])
        return Row(
            what=f"vRouter {_MODES[kind]} {verb}",
            ours=ours,
            peer=median(seconds["script", verb]),
            floor=floor,
            target=target,
            parts={"the agent, one request": floor, "all else": max(0.0, ours - floor)},
        )

    return [row("plug", VROUTER_PLUG), row("unplug", None)]


def burst(rig: Rig, size: int, threads: int, rounds: int) -> list[Row]:
    """Plug many representors and unplug them; the floor does them in one transaction."""
    cases = [Case(kind=Kind.REPRESENTOR, number=number) for number in range(size)]
    seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    on_processor = []
    for number in range(rounds):
        for side in rig.in_turn(number):
            for verb in ("plug", "unplug"):
                # The floor is that of one thread: it asks for all in one transaction.
                wall, cpu = side.burst(verb, cases, 1 if side is rig.floor else threads)
                seconds[side.name, verb].append(wall)
                if (side.name, verb) == ("smartvif", "plug"):
                    on_processor.append(cpu)
                if verb == "plug":
                    rig.see_plugged(side, cases)
            rig.see_unplugged(side)
    ours = median(seconds["smartvif", "plug"])
    cpu = median(on_processor)
    parts = {"our process on a processor": cpu, "it waits": max(0.0, ours - cpu)}
    return [
        Row(
            what=f"burst of {size}, {verb}, threads: {threads}",
            ours=median(seconds["smartvif", verb]),
            peer=median(seconds["os-vif", verb]),
            floor=median(seconds["floor", verb]),
            target=BURST if verb == "plug" else None,
            parts=parts,
        )
        for verb in ("plug", "unplug")
    ]


def look_up(rig: Rig, vfs: int, rounds: int) -> list[Row]:
    """Find the representor of one VF among many; from here on /sys shows a card with ``vfs``."""
    layout = nic.NicLayout(pfs=max(1, vfs // 256), vfs=min(vfs, 256))
    tree = _TREES / str(vfs)
    write_sysfs(layout, tree)
    namespaces.bind(tree, "/sys")
    chosen = random.Random(vfs)  # noqa: S311  (the same VFs at every run)
    functions = list(layout.functions())
    ask = {
        "warm": partial(rig.smartvif.call, "look_up"),
        "cold": partial(rig.watched.call, "look_up_cold"),
        "os-vif": partial(rig.os_vif.call, "look_up"),
    }
    first = str(nic.vf_address(*functions[0]))
    rig.smartvif.call("look_up_cold", first)  # it forgets the card before
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        pf, vf = chosen.choice(functions)
        for who, question in ask.items():
            took, answer = question(str(nic.vf_address(pf, vf)))
            if answer != nic.representor(pf, vf):
                raise RuntimeError(f"{who} found {answer} for VF {vf} of PF {pf}")
            seconds[who].append(took)
        seconds["facts"].append(rig.smartvif.call("read_vf", str(nic.vf_address(pf, vf)))[0])
    facts = median(seconds["facts"])
    parts = {"the VF's own facts": facts, "its representor": median(seconds["warm"]) - facts}
    return [
        Row(
            what=f"look-up among {vfs} VFs, {state}",
            ours=median(seconds[state]),
            peer=median(seconds["os-vif"]),
            target=LOOK_UP if (vfs, state) == (1024, "warm") else None,
            parts=parts,
        )
        for state in ("warm", "cold")
    ]
