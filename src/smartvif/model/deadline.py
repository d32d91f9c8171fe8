"""A deadline that all waits of one call share."""

from __future__ import annotations

import time


class Deadline:
    """One point in time that all waits of one call share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._end - time.monotonic())
