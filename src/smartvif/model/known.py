"""What was observed: a value that is there, one that is not, or one that could not be read.

Pure code says what it does with each of the three; what could not be read is never "no".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from smartvif.model.errors import NotFound, SmartvifError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Present(Generic[T_co]):
    """It is there, and this is its value."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Absent:
    """It is not there. ``why`` is a sentence for people, or empty; ``hint`` how to change that."""

    why: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It could not be read: the three values of an error. ``retry``: doing it again may help."""

    what: str
    where: str = ""
    hint: str = ""
    retry: bool = False

    @classmethod
    def of(cls, error: SmartvifError) -> Unknown:
        """Why it could not be read."""
        return cls(error.what, error.where, error.hint)


Known = Present[T_co] | Absent | Unknown
NOT_READ = Unknown("it was not read")


def read_known(get: Callable[[], T | None]) -> Known[T]:
    """What ``get`` returns: None and NotFound are absence, any other error of ours is unknown."""
    try:
        value = get()
    except NotFound as error:
        return Absent(error.what, error.hint)
    except SmartvifError as error:
        return Unknown.of(error)
    return Absent() if value is None else Present(value)
