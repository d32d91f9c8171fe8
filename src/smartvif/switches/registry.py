"""The registry of switches: ours, then those of other packages, by entry points.

An entry point in the group ``smartvif.switches`` has the switch's name and leads to its
``SwitchBackend``. Packages are searched only where a name is asked for that none of ours has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from smartvif.model.errors import Invalid
from smartvif.plug.steps import codec
from smartvif.switches.backend import SwitchBackend
from smartvif.switches.nic import NIC
from smartvif.switches.ovs import OVS
from smartvif.switches.vrouter import VROUTER

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_log = logging.getLogger(__name__)

GROUP = "smartvif.switches"

Backend = SwitchBackend[Any, Any]

OURS: Mapping[str, Backend] = {row.name: row for row in (OVS, VROUTER, NIC)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """All switches by name, and by name why other installed ones cannot be used."""

    rows: Mapping[str, Backend]
    problems: Mapping[str, str]


def switch(name: str) -> Backend:
    """The switch called ``name``.

    Raises: Invalid, naming those that there are, or what is wrong with the one that is meant.
    """
    if name in OURS:
        return OURS[name]
    found = installed()
    if name in found.rows:
        return found.rows[name]
    raise Invalid(
        found.problems.get(name, f"'{name}' is not one of the switches that are installed"),
        where="--switch",
        hint=f"there are: {', '.join(sorted(attachable(found.rows)))}",
    )


def title(name: str) -> str:
    """The switch's title; that of one that is no longer installed is its name."""
    row = OURS.get(name) or installed().rows.get(name)
    return name if row is None else row.title


def of_plugin(plugin: str) -> Backend | None:
    """The switch that VIFs of an os-vif plugin are for, if any."""
    return _first(lambda row: plugin in row.plugins)


def of_vif_type(vif_type: str) -> Backend | None:
    """The switch that a VIF type belongs to, if any."""
    return _first(lambda row: vif_type in row.vif_types)


def of_socket(details: Iterable[str]) -> Backend | None:
    """The switch that details of VIF type ``vhostuser`` name by one of these keys, if any."""
    named = set(details)
    return _first(lambda row: not named.isdisjoint(row.sockets()))


def of_section(section: str) -> Backend | None:
    """The switch whose settings a section of the configuration has, if any."""
    return _first(lambda row: row.access is not None and row.access.section == section)


def attachable(rows: Mapping[str, Backend]) -> tuple[str, ...]:
    """The names of those that a command can give ports to."""
    return tuple(name for name, row in rows.items() if row.access is not None)


@cache
def installed() -> Installed:
    """All switches, those of other packages included; what is wrong with one hides no other.

    What cannot be used is logged, once.
    """
    from importlib.metadata import entry_points

    rows, problems = dict(OURS), dict[str, str]()
    for entry in entry_points(group=GROUP):
        try:
            row = _load(entry, rows)
            codec.register(row.steps)
        except Invalid as error:
            problems[entry.name] = error.what
            _log.warning("%s", error.what)
        else:
            rows[row.name] = row
    return Installed(rows=rows, problems=problems)


def _load(entry: EntryPoint, rows: Mapping[str, Backend]) -> Backend:
    """The row that an entry point leads to.

    Raises: Invalid, where it leads nowhere, or to what clashes with one of ``rows``.
    """
    about = f"the switch '{entry.name}' of {_package(entry)} is left out"
    try:
        row = entry.load()
        if isinstance(row, SwitchBackend):
            row.sockets()  # it imports as well
    except Exception as error:  # a foreign module may raise whatever there is
        raise Invalid(f"{about}: {entry.value} cannot be loaded: {error!r}") from error
    if not isinstance(row, SwitchBackend):
        raise Invalid(f"{about}: {entry.value} is no SwitchBackend")
    if row.name != entry.name:
        raise Invalid(f"{about}: its row is called '{row.name}'")
    for other in rows.values():
        clash = _clash(row, other)
        if clash is not None:
            raise Invalid(f"{about}: {clash} belongs to another switch, '{other.name}'")
    return row


def _clash(row: Backend, other: Backend) -> str | None:
    """What both claim, or None."""
    if row.name == other.name:
        return "the name"
    claims = {
        "VIF type": (row.vif_types, other.vif_types),
        "os-vif plugin": (row.plugins, other.plugins),
        "detail": (row.sockets().keys(), other.sockets().keys()),
        "section": (_sections(row), _sections(other)),
    }
    for kind, (mine, theirs) in claims.items():
        for both in sorted(set(mine) & set(theirs)):
            return f"{kind} '{both}'"
    return None


def _sections(row: Backend) -> frozenset[str]:
    return frozenset() if row.access is None else frozenset({row.access.section})


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else entry.dist.name


def _first(matches: Callable[[Backend], bool]) -> Backend | None:
    """The first row that matches; packages are searched only where none of ours does."""
    ours = next(filter(matches, OURS.values()), None)
    return ours or next(filter(matches, installed().rows.values()), None)


for _row in OURS.values():
    codec.register(_row.steps)
