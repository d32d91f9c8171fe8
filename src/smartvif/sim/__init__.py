"""The simulated host: SmartNIC, Open vSwitch, vRouter, forwarder, libvirt, guests."""

__all__ = [
    "enter",
    "fleet",
    "guest",
    "host",
    "nic",
    "ovs",
    "process",
    "testing",
    "virtio_forwarder",
    "vrouter",
]
