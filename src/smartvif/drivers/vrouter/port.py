"""A port as the vRouter's agent reads it.

The keys are those of the agent's port API and of its port files, which are the same document
(tungstenfabric/tf-controller, src/vnsw/agent/port_ipc).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

NIL = "00000000-0000-0000-0000-000000000000"
"""The identifier that the agent reads as none."""
_NO_VLAN = -1
# How the agent writes -1, which it keeps in 16 bits.
_NO_VLAN_UNSIGNED = 65535
# Keys in which a port differs from another; the rest is for people, or comes from the controller.
_IDENTITY = (
    "id",
    "instance-id",
    "vn-id",
    "mac-address",
    "system-name",
    "rx-vlan-id",
    "tx-vlan-id",
)


class PortType(IntEnum):
    """The kind of a port's other end; the vRouter treats some specially."""

    NOVA_VM = 0
    NAMESPACE = 1
    ESXI = 2


class VhostUserMode(IntEnum):
    """Which end of a vhost-user socket QEMU is."""

    CLIENT = 0
    SERVER = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """What the agent is told of a port that a VIF has no field for. VLANs go from 0; -1 is none.

    Without ``persist`` the vRouter forgets the port when it restarts. ``socket_wait`` is the time
    in seconds within which it makes the port's socket.
    """

    type: PortType = PortType.NOVA_VM
    rx_vlan: int = _NO_VLAN
    tx_vlan: int = _NO_VLAN
    persist: bool = True
    socket_wait: float = 15.0


DEFAULT_AGENT_OPTIONS = AgentOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class VRouterPort:
    """One port. ``netdev`` is the host's link that the vRouter is to take: a tap, a representor.

    ``machine`` and ``network`` are UUIDs, and so is ``project`` where it is known; ``name`` is the
    machine's, for the vRouter's DNS. VLANs go from 0; -1 is none.
    """

    id: str
    machine: str
    network: str
    name: str
    mac: str
    netdev: str
    project: str | None = None
    ip: str | None = None
    ip6: str | None = None
    type: int = PortType.NOVA_VM
    rx_vlan: int = _NO_VLAN
    tx_vlan: int = _NO_VLAN
    vhostuser_mode: int = VhostUserMode.CLIENT

    def document(self) -> dict[str, str | int]:
        """The document that the agent reads: it requires each key, and text where there is text."""
        return {
            "id": self.id,
            "instance-id": self.machine,
            "display-name": self.name,
            "ip-address": self.ip or "0.0.0.0",  # noqa: S104  (the agent's "none")
            "ip6-address": self.ip6 or "::",
            "vn-id": self.network,
            "vm-project-id": self.project or NIL,
            "mac-address": self.mac,
            "system-name": self.netdev,
            "type": int(self.type),
            "rx-vlan-id": self.rx_vlan,
            "tx-vlan-id": self.tx_vlan,
            "vhostuser-mode": int(self.vhostuser_mode),
        }

    def is_said_by(self, document: Mapping[str, Any]) -> bool:
        """Whether a port file, ours or the agent's, describes exactly this port."""
        return all(_same(document.get(key), value) for key, value in self.document().items())

    def is_meant_by(self, document: Mapping[str, Any]) -> bool:
        """Whether a file or the agent's answer is of this port; details may differ."""
        mine = self.document()
        return all(_same(document.get(key), mine[key]) for key in _IDENTITY)


def _same(there: object, here: str | int) -> bool:
    return there == here or (here == _NO_VLAN and there == _NO_VLAN_UNSIGNED)
