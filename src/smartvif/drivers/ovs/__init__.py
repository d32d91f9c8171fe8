"""Open vSwitch, by its database and OpenFlow."""

__all__ = [
    "batching",
    "client",
    "json_stream",
    "openflow",
    "rows",
    "switch",
]
