"""One module for each thing that a person can ask for."""

__all__ = [
    "guest_start",
    "host_files",
    "migration",
    "placement",
    "ports",
    "reconcile",
    "repair",
]
