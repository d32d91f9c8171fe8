"""What remembers which device is whose: on one host a file, across hosts OpenStack's Placement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model.pci import PciAddress


class ClaimState(StrEnum):
    """Where a claim is in its life; a device that nobody has claimed is available."""

    CLAIMED = "claimed"
    ALLOCATED = "allocated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Port ``owner`` has a device, or is about to. ``rate`` is promised to it, in kbit/s.

    ``address`` None: one of the PF's, to be chosen on the host.
    """

    owner: str
    host: str
    pf: PciAddress
    device: DeviceType
    address: PciAddress | None
    state: ClaimState
    rate: int = 0


class ClaimStore(Protocol):
    """Where claims are made. Choices of several ports are one machine's: all or none."""

    def pools(self, requests: Sequence[DeviceRequest], host: str | None = None) -> tuple[Pool, ...]:
        """What could be had for the requests, on one host or on all; not yet judged.

        Raises: NotFound, where the host is not known; CannotTell, where the engine does not
        answer; Failed.
        """

    def claim(self, choices: Sequence[Choice]) -> tuple[Claim, ...]:
        """Make the choices' ports the owners of devices; the claims are in the choices' order.

        What a port has claimed before is given back in the same act: it is trying again.
        Raises: Conflict, where others were quicker: choose again; Refused, where what the port has
        is not to be given back so; CannotTell; Failed.
        """

    def claims(self, host: str) -> tuple[Claim, ...]:
        """All claims on a host.

        Raises: CannotTell; Failed.
        """

    def release(self, owner: str) -> None:
        """Give back what a port has; nothing, if it has nothing.

        Raises: Refused, where the owner is no port; CannotTell; Failed.
        """
