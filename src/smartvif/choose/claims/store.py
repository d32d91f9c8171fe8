"""Claim stores: which port owns which device; a file on one host, Placement across hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model.pci import PciAddress


class ClaimState(StrEnum):
    """The state of a device; without a claim it is available."""

    CLAIMED = "claimed"
    ALLOCATED = "allocated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The claim of port ``owner`` on a device. ``rate`` is its guaranteed bandwidth in kbit/s.

    ``address`` is None where the host has yet to choose one of the PF's devices.
    """

    owner: str
    host: str
    pf: PciAddress
    device: DeviceType
    address: PciAddress | None
    state: ClaimState
    rate: int = 0


class ClaimStore(Protocol):
    """A store of claims. Choices of several ports are one machine's: all or none."""

    def pools(self, requests: Sequence[DeviceRequest], host: str | None = None) -> tuple[Pool, ...]:
        """The pools to choose from for the requests, on one host or on all, before matching.

        Raises: NotFound, where the host is not known; CannotTell, where the store does not
        answer; Failed.
        """

    def claim(self, choices: Sequence[Choice]) -> tuple[Claim, ...]:
        """Make the choices' ports the owners of devices; the claims are in the choices' order.

        An earlier claim of a port is released in the same transaction, as by a retry.
        Raises: Conflict, where another claim came first: choose again; Refused, where what the
        port has cannot be released so; CannotTell; Failed.
        """

    def claims(self, host: str) -> tuple[Claim, ...]:
        """All claims on a host.

        Raises: CannotTell; Failed.
        """

    def release(self, owner: str) -> None:
        """Release what a port has. Idempotent.

        Raises: Refused, where the owner is no port; CannotTell; Failed.
        """
