"""The addresses of one virtual network, and the vif that each of them is behind. Pure."""

from __future__ import annotations

from smartvif.sim.vrouter.vif import VRouterInterface

ADDRESSES = 4096
"""How many learned addresses a network remembers."""

_NOBODY = bytes(6)


class ForwardingTable:
    """What a network's ports are said to have, and what was learned from frames.

    A port's own address is learned behind a tunnel too: the machine has moved, or has not come yet,
    and works elsewhere. No other port of this host can take it.
    """

    def __init__(self) -> None:
        self._own: dict[bytes, VRouterInterface] = {}
        self._learned: dict[bytes, VRouterInterface] = {}

    def own(self, mac: bytes, vif: VRouterInterface) -> None:
        """Take an address as a port's own."""
        self._own[mac] = vif

    def find(self, mac: bytes) -> VRouterInterface | None:
        """The vif that an address is behind; None where it is unknown."""
        return self._learned.get(mac) or self._own.get(mac)

    def learn(self, mac: bytes, vif: VRouterInterface) -> bool:
        """Remember that a frame from ``mac`` came by ``vif``; whether it was elsewhere before.

        The oldest learned address is forgotten for a new one.
        """
        before = self.find(mac)
        if before is vif or mac[0] & 1 or mac == _NOBODY:
            return False
        owner = self._own.get(mac)
        if owner is vif:
            del self._learned[mac]
            return True
        if owner is not None and not vif.tunnel:
            return False
        if mac not in self._learned and len(self._learned) >= ADDRESSES:
            del self._learned[next(iter(self._learned))]
        self._learned[mac] = vif
        return before is not None

    def forget(self, vif: VRouterInterface) -> None:
        """Forget all that is behind a vif."""
        for table in (self._own, self._learned):
            for mac in [mac for mac, found in table.items() if found is vif]:
                del table[mac]
