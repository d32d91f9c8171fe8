"""Which device a port gets: allow-list, selection, claims here and in Placement."""

__all__ = [
    "allow_list",
    "claims",
    "placement",
    "selection",
]
