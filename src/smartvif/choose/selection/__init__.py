"""What a port needs of a device, and which of those there are suits it best. Pure."""

__all__ = [
    "build_pools",
    "device_use",
    "explain",
    "policy",
    "pool",
    "request",
    "schedule",
    "select",
]
