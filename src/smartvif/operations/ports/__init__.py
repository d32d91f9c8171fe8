"""Attaching and detaching ports, and what is looked at before."""

__all__ = [
    "attach",
    "claims",
    "detach",
    "device_users",
    "inventory",
    "preflight",
    "prepare",
    "reading",
    "vrouter_port",
]
