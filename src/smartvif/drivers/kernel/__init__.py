"""Links and PCI drivers, by netlink, ioctl and sysfs."""

__all__ = [
    "api",
    "links",
    "netdevice",
    "unix_sockets",
    "vfio",
]
