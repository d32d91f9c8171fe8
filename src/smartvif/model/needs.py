"""What a port needs of its device, on whichever host."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from smartvif.model import checks, traits
from smartvif.model.errors import Invalid


class NumaPolicy(StrEnum):
    """How near a device must be to its guest (Nova, ``hw:pci_numa_affinity_policy``)."""

    REQUIRED = "required"
    SOCKET = "socket"
    LEGACY = "legacy"
    PREFERRED = "preferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a port's VF must be like, on whichever host. ``min_rate`` in kbit/s.

    ``physical_network`` None: the network is a tunnelled one.
    Raises: Invalid.
    """

    capabilities: tuple[str, ...] = ()
    physical_network: str | None = None
    trusted: bool = False
    min_rate: int = 0
    numa: str = NumaPolicy.PREFERRED

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

    @classmethod
    def from_json(cls, document: dict[str, Any] | None) -> Needs:
        """From the facts of a port; None: nothing special.

        Raises: Invalid.
        """
        if document is None:
            return cls()
        return cls(**{**document, "capabilities": tuple(document["capabilities"])})


_HIGHEST_RATE = 2**31 - 1  # what Placement can hold (placement/db/constants.py, MAX_INT)


NOTHING_SPECIAL = Needs()
