"""The switches by name."""

from __future__ import annotations

from enum import StrEnum


class Switch(StrEnum):
    """The switches that a VIF can be plugged into; the last is the one inside the NIC."""

    OVS = "ovs"
    VROUTER = "vrouter"
    VEB = "hw_veb"
