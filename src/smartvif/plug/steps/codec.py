"""All kinds of steps, by the names that the journal knows them by."""

from __future__ import annotations

import dataclasses
from typing import Any

from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.host.vf_admin import VfAdmin
from smartvif.model.errors import CannotTell
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.plug.steps.links import HybridBridge, LinkUp, Tap
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings
from smartvif.plug.steps.step import Step
from smartvif.plug.steps.vf import VfAdminSettings, VfioBinding
from smartvif.plug.steps.vrouter import AgentPort

_KINDS: dict[str, Any] = {
    kind.KIND: kind
    for kind in (
        AgentPort,
        AttachedInterface,
        HybridBridge,
        LinkUp,
        ForwarderRelay,
        SimulatedPassthrough,
        SwitchPort,
        Tap,
        VfAdminSettings,
        SimulatedVfSettings,
        VfioBinding,
    )
}
_VALUES: dict[str, tuple[str, Any]] = {
    "AgentPort": ("port", VRouterPort),
    "SwitchPort": ("spec", OvsPortSpec),
    "Relay": ("spec", RelaySpec),
    "VfAdminSettings": ("wanted", VfAdmin),
}
"""Which field of a step is a value itself."""


def dump(step: Step) -> tuple[str, dict[str, Any]]:
    """A step as its kind's name and values that JSON can hold."""
    return step.KIND, dataclasses.asdict(step)  # type: ignore[call-overload]


def load(kind: str, values: dict[str, Any]) -> Step:
    """The step that ``dump`` gave.

    Raises: CannotTell, for one that another version has written.
    """
    try:
        if kind in _VALUES:
            field, value = _VALUES[kind]
            values = {**values, field: value(**values[field])}
        step: Step = _KINDS[kind](**values)
    except (KeyError, TypeError) as error:
        raise CannotTell(
            f"the journal has a step that is not known here: {kind}",
            where="journal",
            hint="finish with the version of smartvif that wrote it",
        ) from error
    return step
