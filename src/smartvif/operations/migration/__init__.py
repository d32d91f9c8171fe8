"""Moving a running machine with its ports to another host."""

__all__ = [
    "destination",
    "offer",
    "peer",
    "source",
]
