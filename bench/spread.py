"""How long something took that was done many times."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """In seconds."""

    median: float
    p95: float
    worst: float


def spread(seconds: Sequence[float]) -> Spread:
    """Of two times or more."""
    return Spread(
        median=median(seconds),
        p95=quantiles(seconds, n=20, method="inclusive")[-1],
        worst=max(seconds),
    )


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """What came of it, and how many seconds it took."""
    gc.collect()
    start = time.perf_counter()
    result = act()
    return result, time.perf_counter() - start
