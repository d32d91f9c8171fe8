"""The operator's list of PCI devices that guests may get, in Nova's notation."""

__all__ = [
    "address",
    "match",
    "nova_conf",
    "oslo_ini",
    "report",
    "spec",
]
