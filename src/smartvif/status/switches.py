"""What a switch says of an attachment's port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.ovs.rows import OvsPortState
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.model.errors import CannotTell, Failed
from smartvif.plug.journal import Journal, PortRecord
from smartvif.plug.steps.vrouter import AgentPort


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchView:
    """One port. ``wrong`` is what is wrong with it; ``unknown`` is why nobody can tell.

    ``link_up`` is None where nobody can tell. ``says`` is all that the switch says, as JSON.
    ``simulated``: the switch itself says that it is.
    """

    wrong: str | None = None
    unknown: str | None = None
    link_up: bool | None = None
    says: dict[str, Any] | None = None
    simulated: bool = False


Look = Callable[[PortRecord], SwitchView]


def open_vswitch(drivers: Drivers) -> Look:
    """Look at any number of ports with Open vSwitch asked once."""
    try:
        drivers.need_ovs().confirm()
        ports = {port.name: port for port in drivers.need_ovs().ports()}
    except CannotTell as error:
        unknown = SwitchView(unknown=error.what)
        return lambda record: unknown
    return lambda record: _ovs_view(record, ports.get(record.facts["switch_port"]))


def _ovs_view(record: PortRecord, port: OvsPortState | None) -> SwitchView:
    if port is None:
        return SwitchView(wrong="its port is not in the switch any more")
    wrong = f"the switch: {port.failure}" if port.failure else None
    if port.owner != record.id or port.bridge != record.facts["bridge"]:
        wrong = f"its switch port is on {port.bridge} and of {port.owner or 'something else'}"
    return SwitchView(wrong=wrong, link_up=port.link_up, says=port.as_json())


def vrouter(drivers: Drivers, journal: Journal) -> Look:
    """Look at ports of the vRouter, with its agent asked for each."""
    return lambda record: _vrouter_view(record, drivers, journal)


def _vrouter_view(record: PortRecord, drivers: Drivers, journal: Journal) -> SwitchView:
    steps = [entry.step for entry in journal.entries(record.id)]
    told = [step.port for step in steps if isinstance(step, AgentPort)]
    if not told:
        return SwitchView(wrong="the vRouter was not told of it yet")
    link = drivers.links.get(told[0].netdev)
    link_up = link.up if link is not None else None
    try:
        agent = drivers.need_vrouter()
        shown = agent.port(record.id)
        if shown is None and agent.files.read(record.id) is None:
            return SwitchView(wrong="the vRouter agent was told to forget it", link_up=link_up)
    except (CannotTell, Failed) as error:
        return SwitchView(unknown=error.what, link_up=link_up)
    simulated = agent.simulated()
    if shown is None:
        unknown = "the vRouter agent does not show it: has its controller told it the network?"
        return SwitchView(unknown=unknown, link_up=link_up, simulated=simulated)
    wrong = _otherwise(told[0], shown)
    return SwitchView(wrong=wrong, link_up=link_up, says=shown, simulated=simulated)


def _otherwise(port: VRouterPort, shown: dict[str, Any]) -> str | None:
    if port.is_meant_by(shown):
        return None
    return f"the vRouter agent has it with {shown.get('system-name')}, network {shown.get('vn-id')}"
