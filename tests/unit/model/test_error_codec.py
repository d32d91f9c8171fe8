"""Errors as documents: what crosses a process arrives as what it was."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.drivers.vrouter.agent import AgentDown
from smartvif.model import errors
from smartvif.model.error_codec import decode, encode
from smartvif.model.errors import (
    CannotTell,
    Conflict,
    Failed,
    Invalid,
    Refused,
    SmartvifError,
    StepFailed,
)

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SmartvifError)
]
MADE_OF_THREE = [kind for kind in KINDS if kind is not StepFailed]

plain = st.builds(
    lambda kind, what, where, hint: kind(what, where=where, hint=hint),
    st.sampled_from(MADE_OF_THREE),
    st.text(),
    st.text(),
    st.text(),
)
any_error = plain | st.builds(
    lambda step, cause, where: StepFailed(step, cause, where=where), st.text(), plain, st.text()
)


def parts(error: SmartvifError) -> tuple[Any, ...]:
    """All that an error knows."""
    known = (type(error), error.what, error.where, error.hint, str(error), error.args)
    return (*known, error.step, parts(error.cause)) if isinstance(error, StepFailed) else known


@given(any_error)
def test_there_and_back(error: SmartvifError) -> None:
    """What comes out of JSON is the error that went in: its class, its words, its cause."""
    assert parts(decode(json.loads(json.dumps(encode(error))))) == parts(error)


def test_every_class_is_tried() -> None:
    """The test above is of all classes, the root's and the leaves'."""
    assert {SmartvifError, Conflict, StepFailed, CannotTell} < set(KINDS)


def test_a_new_class_needs_no_line_of_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that is added to model.errors is carried as itself."""
    added = type("Torn", (Failed,), {"__module__": errors.__name__})
    monkeypatch.setattr(errors, "Torn", added, raising=False)
    assert type(decode(encode(added("torn", where="page 3")))) is added


def test_a_class_of_a_driver_arrives_as_its_nearest_of_ours() -> None:
    """The other process may not have the driver."""
    cause = AgentDown("no answer", where="agent", hint="start it")
    for error in (cause, StepFailed("add p", cause).cause):
        arrived = decode(encode(error))
        assert type(arrived) is CannotTell
        assert (arrived.what, arrived.where, arrived.hint) == ("no answer", "agent", "start it")
    arrived = decode(encode(StepFailed("add p", cause)))
    assert isinstance(arrived, StepFailed)
    assert type(arrived.cause) is CannotTell


def test_a_class_of_a_newer_version() -> None:
    """One that is not known becomes a Failed, or what the caller makes of it, with its words."""
    document: dict[str, Any] = {**encode(Refused("busy", where="p0", hint="wait")), "kind": "Newer"}
    document["since"] = 2
    for otherwise in (Failed, Refused):
        error = decode(document, otherwise=otherwise)
        assert type(error) is otherwise
        assert (error.what, error.where, error.hint) == ("busy", "p0", "wait")
    assert type(decode(document)) is Failed


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "Failed"},
        {"kind": "Failed", "what": None, "where": "", "hint": ""},
        {"kind": 1, "what": "", "where": "", "hint": ""},
        {"kind": "StepFailed", "where": "", "step": "add p", "cause": {}},
    ],
)
def test_no_error(document: dict[str, Any]) -> None:
    """Anything else is refused, and shown."""
    with pytest.raises(Invalid, match="not the document of an error"):
        decode(document)
