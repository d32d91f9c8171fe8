"""The commands: options in, tables and JSON out. No logic."""

__all__ = [
    "attach",
    "candidates",
    "context",
    "demo",
    "device_spec",
    "host",
    "libvirt_hook",
    "main",
    "map_tree",
    "migrate",
    "output",
    "placement",
    "port_control",
    "process",
    "sim",
    "status",
]
