"""A deadline that all waits of one call share."""

from __future__ import annotations

import time


class Deadline:
    """A point in time, ``seconds`` from now, that all waits of one call share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds that are left, never negative."""
        return max(0.0, self._end - time.monotonic())
