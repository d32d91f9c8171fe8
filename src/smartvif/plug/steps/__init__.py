"""The kinds of steps: each makes one change of the host, compares it and undoes it."""

__all__ = [
    "codec",
    "guest",
    "links",
    "ovs",
    "relay",
    "simulated_vf",
    "step",
    "vf",
    "vrouter",
]
