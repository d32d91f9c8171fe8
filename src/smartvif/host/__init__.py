"""Read-only facts of the kernel, from a root path that a test can replace."""

__all__ = [
    "bond",
    "capabilities",
    "devlink",
    "ethtool",
    "function_driver",
    "netdev",
    "numa",
    "passthrough",
    "pci_devices",
    "port_name",
    "representors",
    "sriov",
    "sysfs",
    "vdpa",
    "vf_info",
    "vfio_users",
    "vpd",
]
