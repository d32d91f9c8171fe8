"""The os-vif plugins."""

__all__ = [
    "agilio_ovs",
    "convert",
    "plugin",
    "vrouter",
]
