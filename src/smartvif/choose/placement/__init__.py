"""Claims in OpenStack's Placement, and telling it what a host has."""

__all__ = [
    "candidates",
    "claims",
    "client",
    "probe",
    "providers",
    "publish",
    "session",
]
