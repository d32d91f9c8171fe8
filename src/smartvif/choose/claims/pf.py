"""The functions of one PF in the store of claims, and what blocks each of them. Pure.

A PF is allocated as a whole, or its VFs and vdpa devices one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smartvif.choose.selection.request import DeviceType


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function.

    ``unavailable`` is the user outside of the store; ``rate`` is the guaranteed bandwidth and
    ``speed`` the PF's, in kbit/s. ``facts`` are its pool's properties as JSON.
    """

    device: DeviceType
    facts: str
    speed: int | None
    address: str
    unavailable: str | None
    owner: str | None
    rate: int


class PfFunctions:
    """All functions of one PF that the store knows, the PF itself among them, in order."""

    def __init__(self, functions: Iterable[Function]) -> None:
        self.functions = tuple(functions)
        self._guaranteed = sum(each.rate for each in self.functions)
        self._whole = next((each for each in self.functions if _is_whole_taken(each)), None)
        self._part = next((each for each in self.functions if _is_part_taken(each)), None)

    def of_pool(self, device: DeviceType, facts: str) -> tuple[Function, ...]:
        """The functions of one pool; empty where there is no such pool."""
        return tuple(f for f in self.functions if f.device is device and f.facts == facts)

    def blocker(self, function: Function) -> str | None:
        """Why the function is not free; None where it is."""
        if function.owner is not None:
            return f"in use by port {function.owner}"
        return (
            self._exclusion(function.device)
            if function.unavailable is None
            else function.unavailable
        )

    def _exclusion(self, device: DeviceType) -> str | None:
        """Why functions of the PF that are in use exclude such a device; None: they do not."""
        if device is not DeviceType.PF:
            whole = self._whole
            return None if whole is None else f"its PF is in use by port {whole.owner}"
        part = self._part
        if part is None:
            return None
        if part.owner is None:
            return f"a {part.device} of it is unavailable: {part.unavailable}"
        return f"a {part.device} of it is in use by port {part.owner}"

    def bandwidth_left(self, pool: Sequence[Function]) -> int | None:
        """What is left of the PF's speed, in kbit/s; None where it is unknown."""
        # The PF's speed can have fallen below what is guaranteed.
        return None if pool[0].speed is None else max(0, pool[0].speed - self._guaranteed)


def _is_whole_taken(function: Function) -> bool:
    return function.device is DeviceType.PF and function.owner is not None


def _is_part_taken(function: Function) -> bool:
    if function.device is DeviceType.PF:
        return False
    return function.owner is not None or function.unavailable is not None
