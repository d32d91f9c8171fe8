"""Names of host-side devices and ports, made from a port's id.

They are the names Nova and Neutron make, so that either side finds the other's devices:
nova/network/model.py, NIC_NAME_LEN = 14, one less than the kernel allows.
"""

from __future__ import annotations

NIC_NAME_LEN = 14


def tap(port_id: str) -> str:
    """The tap of a port, and the name its representor is asked to have: ``tap0d9a1b2c-3e``."""
    return _name("tap", port_id)


def vhost_user(port_id: str) -> str:
    """The switch's vhost-user port: ``vhu0d9a1b2c-3e``."""
    return _name("vhu", port_id)


def hybrid_bridge(port_id: str) -> str:
    """The Linux bridge between a tap and the switch, where packets are filtered."""
    return _name("qbr", port_id)


def hybrid_veth(port_id: str) -> tuple[str, str]:
    """The pair that joins that bridge to the switch: the bridge's end and the switch's."""
    return _name("qvb", port_id), _name("qvo", port_id)


def _name(prefix: str, port_id: str) -> str:
    return (prefix + port_id)[:NIC_NAME_LEN]
