"""One row for each switch, and the registry that finds them."""

__all__ = [
    "backend",
    "build_vif",
    "device_request",
    "nic",
    "ovs",
    "plan",
    "prepare",
    "registry",
    "vrouter",
]
