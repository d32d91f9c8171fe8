"""The demonstration on a simulated host."""

__all__ = [
    "demo",
]
