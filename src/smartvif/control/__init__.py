"""Binding and VIF, as Neutron and Nova decide them. Pure."""

__all__ = [
    "bind_ovs",
    "bind_vrouter",
    "names",
    "nic_vif",
    "ovs_vif",
    "unsupported",
    "vif_parts",
    "vrouter_vif",
]
