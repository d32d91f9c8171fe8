"""The identity of a machine's network interface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceIdentity:
    """An interface's MAC address with what it is plugged into.

    ``kind`` is libvirt's type; ``source`` the tap's name, the bridge, the vhost-user socket or the
    PCI address. The MAC address alone is not enough: both of a net_failover pair have the same one
    (libvirt.org/formatdomain.html, "Teaming a virtio/hostdev NIC pair").
    """

    mac: str
    kind: str
    source: str | None
