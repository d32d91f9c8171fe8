"""PCI addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smartvif.model.errors import Invalid

# 'domain:bus:slot.function' as the kernel prints it (drivers/pci/pci.h, "%04x:%02x:%02x.%d").
# Domains above ffff exist: Intel VMD numbers its own from 10000 up.
_ADDRESS = re.compile(
    r"(?P<domain>[0-9a-f]{4,8}):(?P<bus>[0-9a-f]{2}):(?P<slot>[01][0-9a-f])\.(?P<function>[0-7])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class PciAddress:
    """One PCI function, ordered as the bus is."""

    domain: int
    bus: int
    slot: int
    function: int

    @classmethod
    def parse(cls, text: str) -> PciAddress:
        """Read ``0000:03:00.1``, in any case.

        Raises: Invalid.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise Invalid(
                f"'{text}' is not a PCI address",
                hint="write domain:bus:slot.function, like 0000:03:00.1",
            )
        return cls(
            int(match["domain"], 16),
            int(match["bus"], 16),
            int(match["slot"], 16),
            int(match["function"]),
        )

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function}"
