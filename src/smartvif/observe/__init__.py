"""What is there: read once for a scope, with nothing changed."""

__all__ = [
    "observation",
    "read",
]
