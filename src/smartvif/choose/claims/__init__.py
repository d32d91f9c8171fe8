"""Claim stores: which port owns which device."""

__all__ = [
    "file",
    "mirrored",
    "pf",
    "rows",
    "sqlite",
    "store",
    "ticket_lock",
]
