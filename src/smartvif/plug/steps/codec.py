"""All kinds of steps, by the names that the journal knows them by.

Those that plans of every switch can have are here; those of one switch are handed in by its row.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from smartvif.model.errors import CannotTell, Invalid
from smartvif.model.pci import PciAddress
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.plug.steps.links import LinkUp, Tap
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings
from smartvif.plug.steps.step import Step
from smartvif.plug.steps.vf import VfAdminSettings, VfioBinding

_KINDS: dict[str, Any] = {
    kind.KIND: kind
    for kind in (
        AttachedInterface,
        ForwarderRelay,
        LinkUp,
        SimulatedPassthrough,
        SimulatedVfSettings,
        Tap,
        VfAdminSettings,
        VfioBinding,
    )
}


def register(kinds: Iterable[type[Step]]) -> None:
    """Make the kinds of steps of a switch known. Idempotent.

    Raises: Invalid, where another kind has the name of one of them; then none is known.
    """
    named = {kind.KIND: kind for kind in kinds}
    for name, kind in named.items():
        if _KINDS.get(name, kind) is not kind:
            raise Invalid(f"two kinds of steps are called '{name}': {kind!r}, {_KINDS[name]!r}")
    _KINDS.update(named)


def dump(step: Step) -> tuple[str, dict[str, Any]]:
    """A step as its kind's name and values that JSON can hold."""
    return step.KIND, _plain(step)


def load(kind: str, values: dict[str, Any]) -> Step:
    """The step that ``dump`` gave.

    Raises: CannotTell, for one that another version has written; Invalid, for what is no address.
    """
    try:
        step: Step = _made(_KINDS[kind], values)
    except (AttributeError, KeyError, TypeError) as error:
        raise CannotTell(
            f"the journal has a step that is not known here: {kind}",
            where="journal",
            hint="finish with the version of smartvif that wrote it",
        ) from error
    return step


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: an address as text, a dataclass by its fields."""
    if isinstance(value, PciAddress):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return value


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """The value of a dataclass, whose fields may be addresses or values themselves."""
    read = _readers(kind)
    return kind(**{name: read[name](v) if name in read else v for name, v in values.items()})


@cache
def _readers(kind: Any) -> Mapping[str, Callable[[Any], Any]]:
    """How each field of a dataclass is read that is not in JSON as it is."""
    hints = typing.get_type_hints(kind)
    found: dict[str, Callable[[Any], Any]] = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if hint in {PciAddress, PciAddress | None}:
            found[field.name] = _address
        elif dataclasses.is_dataclass(hint):
            found[field.name] = partial(_made, hint)
    return found


def _address(text: str | None) -> PciAddress | None:
    return None if text is None else PciAddress.parse(text)
