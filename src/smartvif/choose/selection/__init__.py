"""What a port needs of a device, and which of those there are suits it best. Pure."""

__all__ = [
    "build_pools",
    "explain",
    "policy",
    "pool",
    "request",
    "schedule",
    "select",
]
