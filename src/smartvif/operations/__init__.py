"""One module for each thing that a person can ask for."""

__all__ = [
    "guest_start",
    "migration",
    "placement",
    "ports",
    "reconcile",
    "repair",
]
