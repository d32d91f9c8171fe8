"""What a comparison of wanted and observed state says."""

from __future__ import annotations

from dataclasses import dataclass

from smartvif.model.known import Unknown


@dataclass(frozen=True, slots=True)
class Holds:
    """What is observed is what is wanted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is observed is not what is wanted. Each part is a clause for people."""

    subject: str
    wanted: str
    there: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.there}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class Gone(Difference):
    """A difference that no step can repair: what the port is for is gone, and is not ours to make.

    It is said without what is wanted.
    """

    def __str__(self) -> str:
        return f"{self.subject} is {self.there}"


Verdict = Holds | Difference | Unknown
HOLDS = Holds()


def first_of(*verdicts: Verdict) -> Verdict:
    """The first difference; without one the first unknown; else that it holds."""
    for kind in (Difference, Unknown):
        for verdict in verdicts:
            if isinstance(verdict, kind):
                return verdict
    return HOLDS
