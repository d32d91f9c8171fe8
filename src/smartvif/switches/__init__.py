"""One row for each switch, and the registry that finds them."""

__all__ = [
    "backend",
    "build_vif",
    "device_request",
    "nic",
    "ovs",
    "plan",
    "port_switch",
    "prepare",
    "registry",
    "vrouter",
]
