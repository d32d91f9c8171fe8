"""Which steps plug a VIF, by switch. Pure."""

__all__ = [
    "inputs",
    "nic",
    "ovs",
    "relay",
    "vrouter",
]
