"""The requirements of a port on its device, independent of the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smartvif.model import checks, traits
from smartvif.model.choices import NumaPolicy
from smartvif.model.errors import Invalid

_HIGHEST_RATE = 2**31 - 1  # what Placement can hold (placement/db/constants.py, MAX_INT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The requirements of a port on its device.

    ``capabilities`` are traits. ``physical_network`` None: the network is a tunnelled one.
    ``trusted`` lets the guest change its VF's MAC address and receive what is not for it.
    ``min_rate`` is guaranteed bandwidth in kbit/s.
    Raises: Invalid.
    """

    capabilities: frozenset[str] = frozenset()
    physical_network: str | None = None
    trusted: bool = False
    min_rate: int = 0
    numa: NumaPolicy = NumaPolicy.PREFERRED

    def __post_init__(self) -> None:
        with checks.about("--capability"):
            for name in self.capabilities:
                traits.check(name)
        if not 0 <= self.min_rate <= _HIGHEST_RATE:
            raise Invalid(
                f"{self.min_rate} kbit/s is no rate",
                where="--min-rate",
                hint=f"it goes from 1 to {_HIGHEST_RATE}",
            )

    def as_json(self) -> dict[str, object]:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "capabilities": sorted(self.capabilities),
            "physical_network": self.physical_network,
            "trusted": self.trusted,
            "min_rate": self.min_rate,
            "numa": str(self.numa),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Needs:
        """What ``as_json`` gave.

        Raises: Invalid.
        """
        try:
            found = {**document, "capabilities": frozenset(_texts(document["capabilities"]))}
            return cls(**{**found, "numa": NumaPolicy(str(document["numa"]))})  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"these are no needs of a port: {error}") from error


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("a list is needed")
    return [str(each) for each in value]


NOTHING_SPECIAL = Needs()
