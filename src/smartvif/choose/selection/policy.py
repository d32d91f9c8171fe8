"""The policies by which PFs are ordered."""

from __future__ import annotations

from enum import StrEnum


class Policy(StrEnum):
    """The order of PFs: the smallest share of devices in use first, or the largest."""

    SPREAD = "spread"
    PACK = "pack"
