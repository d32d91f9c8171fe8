"""The only code that changes a host."""

__all__ = [
    "drivers",
    "forwarder",
    "kernel",
    "ovs",
    "vrouter",
]
