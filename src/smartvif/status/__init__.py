"""What people are shown of ports, devices and relays."""

__all__ = [
    "map",
    "nics",
    "ports",
    "relays",
]
