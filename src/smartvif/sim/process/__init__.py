"""Namespaces, daemons and what keeps them running."""

__all__ = [
    "daemons",
    "namespaces",
    "netns",
    "supervisor",
]
