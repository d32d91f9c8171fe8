"""Forwarder engines: what joins a VF to a guest's vhost-user socket."""

__all__ = [
    "engine",
    "ovs_dpdk",
    "ovs_dpdk_rows",
    "registry",
    "virtio_forwarder",
]
