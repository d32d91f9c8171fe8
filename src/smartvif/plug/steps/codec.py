"""All kinds of steps, by the names that the journal knows them by.

Those that plans of every switch can have are here; those of one switch are handed in by its row.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from smartvif.model.errors import CannotTell, Invalid
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
    return step.KIND, dataclasses.asdict(step)  # type: ignore[call-overload]


def load(kind: str, values: dict[str, Any]) -> Step:
    """The step that ``dump`` gave.

    Raises: CannotTell, for one that another version has written.
    """
    try:
        step: Step = _made(_KINDS[kind], values)
    except (KeyError, TypeError) as error:
        raise CannotTell(
            f"the journal has a step that is not known here: {kind}",
            where="journal",
            hint="finish with the version of smartvif that wrote it",
        ) from error
    return step


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """The value of a dataclass, in which fields may be values themselves."""
    inner = _inner(kind)
    return kind(
        **{name: _made(inner[name], v) if name in inner else v for name, v in values.items()}
    )


@cache
def _inner(kind: Any) -> Mapping[str, Any]:
    """The fields of a dataclass that are dataclasses, with these."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {name: hint for name, hint in fields.items() if dataclasses.is_dataclass(hint)}
