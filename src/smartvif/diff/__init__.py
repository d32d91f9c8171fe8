"""Wanted beside observed state: pure, and the only judge of a port."""

__all__ = [
    "ports",
]
