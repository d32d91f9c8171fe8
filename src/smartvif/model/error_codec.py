"""Errors as documents, to cross a process: from another host, or from the privileged daemon.

A document has the class of ``smartvif.model.errors``, what, where and hint; that of a StepFailed
also its step and cause. The classes are found in the class tree, so a new one needs no line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NotRequired, TypedDict

from smartvif.model.errors import Failed, Invalid, SmartvifError, StepFailed


class ErrorDocument(TypedDict):
    """An error in types that JSON and msgpack have. ``kind`` is the name of its class."""

    kind: str
    what: str
    where: str
    hint: str
    step: NotRequired[str]
    cause: NotRequired[ErrorDocument]


def encode(error: SmartvifError) -> ErrorDocument:
    """The document of ``error``; a driver's own class becomes its nearest in model.errors."""
    kind = next(kind for kind in type(error).__mro__ if _is_ours(kind))
    document = ErrorDocument(
        kind=kind.__name__, what=error.what, where=error.where, hint=error.hint
    )
    if isinstance(error, StepFailed):
        document["step"] = error.step
        document["cause"] = encode(error.cause)
    return document


def decode(
    document: Mapping[str, object], *, otherwise: type[SmartvifError] = Failed
) -> SmartvifError:
    """The error of a document. One of an unknown class, of a newer version, is an ``otherwise``.

    Keys that are not known are ignored. Raises: Invalid, for what is no document of an error.
    """
    match document:
        case {"kind": "StepFailed", "where": str(where), "step": str(step), "cause": dict(cause)}:
            return StepFailed(step, decode(cause), where=where)
        case {"kind": str(name), "what": str(what), "where": str(where), "hint": str(hint)}:
            kinds = {kind.__name__: kind for kind in _kinds(SmartvifError)}
            return kinds.get(name, otherwise)(what, where=where, hint=hint)
    raise Invalid(f"not the document of an error: {document!r:.200}")


def _kinds(root: type[SmartvifError]) -> Iterator[type[SmartvifError]]:
    """The classes of model.errors that are made of what, where and hint."""
    if _is_ours(root) and root is not StepFailed:
        yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)


def _is_ours(kind: type) -> bool:
    return kind.__module__ == SmartvifError.__module__
