"""One module for each thing that a person can ask for."""

__all__ = [
    "migration",
    "placement",
    "ports",
    "reconcile",
    "repair",
]
