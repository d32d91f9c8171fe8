"""The simulated SmartNIC: its links, its /sys and its eswitch."""

__all__ = [
    "eswitch",
    "link_events",
    "nic",
    "rtnetlink",
    "sysfs",
    "sysfs_follow",
    "sysfs_netdevs",
]
