"""The vRouter's vifs and networks: the netdevs of ports in use, and the network of each.

A port names a netdev that may not be there yet, and may go and come back: libvirt makes a tap when
the machine starts. All vifs are checked again at each link event of the kernel.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from smartvif.drivers.kernel import netdevice
from smartvif.model.errors import SmartvifError
from smartvif.sim.vrouter import tunnel
from smartvif.sim.vrouter.bridge import ForwardingTable
from smartvif.sim.vrouter.hold import HostFilter
from smartvif.sim.vrouter.messages import NO_VLAN, AgentPortMessage, AgentPortType, mac_bytes
from smartvif.sim.vrouter.tunnel import Tunnels
from smartvif.sim.vrouter.vif import PacketSocket, VRouterInterface


@dataclass(slots=True, kw_only=True, eq=False)
class VRouterNetwork:
    """A virtual network that has ports on this host."""

    id: UUID
    ports: dict[str, VRouterInterface] = field(default_factory=dict)
    bridge: ForwardingTable = field(default_factory=ForwardingTable)
    tunnel: VRouterInterface | None = None

    def vifs(self) -> tuple[VRouterInterface, ...]:
        """Those of its ports, and its tunnel's."""
        return (*self.ports.values(), *((self.tunnel,) if self.tunnel else ()))


class Vifs:
    """All vifs. ``entered`` is called for each that becomes active, ``left`` when it stops."""

    def __init__(
        self,
        tunnels: Tunnels | None,
        hold: HostFilter,
        *,
        entered: Callable[[VRouterInterface], None],
        left: Callable[[VRouterInterface], None],
    ) -> None:
        self._tunnels = tunnels
        self._hold = hold
        self._entered = entered
        self._left = left
        self._ports: dict[str, VRouterInterface] = {}
        self._networks: dict[int, VRouterNetwork] = {}
        self._channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def __iter__(self) -> Iterator[VRouterInterface]:
        """Those of the ports, and then those of the tunnels."""
        tunnels = (network.tunnel for network in self._networks.values())
        return iter((*self._ports.values(), *(vif for vif in tunnels if vif is not None)))

    def network(self, vif: VRouterInterface) -> VRouterNetwork:
        """The network that an active vif is in."""
        return self._networks[tunnel.vni(vif.network)]

    def add(self, port: AgentPortMessage) -> None:
        """Add a port; an existing one is replaced."""
        self.delete(port.id)
        self._ports[port.id] = VRouterInterface(
            id=port.id,
            netdev=port.system_name,
            network=UUID(port.vn_id),
            mac=mac_bytes(port.mac_address),
            refused=refusal(port),
        )
        self.settle()

    def delete(self, port_id: str) -> None:
        """Drop a port, and with the last one of a network its tunnel."""
        vif = self._ports.pop(port_id, None)
        if vif is None:
            return
        self._deactivate(vif)
        number = tunnel.vni(vif.network)
        network = self._networks.get(number)
        if network is not None:
            network.ports.pop(vif.id, None)
            if not network.ports:
                self._close_tunnel(network.tunnel)
                del self._networks[number]
        self.settle()

    def settle(self) -> None:
        """Make each vif active that can be, and no other. The first port of a netdev has it."""
        users: dict[str, str] = {}
        refusals = {vif: self._refusal(vif, users) for vif in self._ports.values()}
        indices = {name: index for index, name in socket.if_nameindex()}
        for vif in self:
            index = indices.get(vif.netdev, 0)
            vif.reason = refusals.get(vif, vif.refused) or self._state(vif, index)
            if vif.socket is not None and (vif.reason or vif.index != index):
                self._deactivate(vif)
            if vif.socket is None and not vif.reason:
                self._activate(vif, index)

    def _refusal(self, vif: VRouterInterface, users: dict[str, str]) -> str:
        """Have a port in its network; why it cannot be active whatever the kernel says, if so."""
        if vif.refused:
            return vif.refused
        number = tunnel.vni(vif.network)
        network = self._networks.get(number)
        if network is None:
            network = self._networks[number] = VRouterNetwork(id=vif.network)
            network.tunnel = self._open_tunnel(vif.network)
        if network.id != vif.network:
            return f"its network's VNI, {number}, is that of network {network.id}"
        network.ports[vif.id] = vif
        user = users.setdefault(vif.netdev, vif.id)
        return "" if user == vif.id else f"its netdev is that of port {user}"

    def _state(self, vif: VRouterInterface, index: int) -> str:
        """What is amiss with a vif's netdev, or nothing."""
        link = netdevice.get(self._channel, vif.netdev) if index else None
        if link is None:
            return "its netdev is not there"
        return "" if link.up else "its netdev is down"

    def _open_tunnel(self, network: UUID) -> VRouterInterface | None:
        if self._tunnels is None or not self._tunnels.peers:
            return None
        number = tunnel.vni(network)
        refused = ""
        try:
            self._tunnels.add(number)
        except SmartvifError as error:
            refused = str(error)
        name = tunnel.name(number)
        return VRouterInterface(id=name, netdev=name, network=network, mac=None, refused=refused)

    def _close_tunnel(self, vif: VRouterInterface | None) -> None:
        if vif is not None:
            self._deactivate(vif)
            tunnel.delete(vif.netdev)

    def _activate(self, vif: VRouterInterface, index: int) -> None:
        try:
            self._hold.take(vif.netdev)
            vif.socket = PacketSocket(vif.netdev)
        except SmartvifError as error:
            vif.reason = error.what
            return
        except OSError as error:
            vif.reason = str(error.strerror)
            return
        vif.index = index
        if vif.mac is not None:
            self.network(vif).bridge.own(vif.mac, vif)
        self._entered(vif)

    def _deactivate(self, vif: VRouterInterface) -> None:
        if vif.socket is None:
            return
        self.network(vif).bridge.forget(vif)
        self._left(vif)
        vif.socket.close()
        vif.socket = None
        self._hold.release(vif.netdev)


def refusal(port: AgentPortMessage) -> str:
    """Why a port can never be active here, or nothing."""
    if port.type is AgentPortType.REMOTE:
        return "it has no netdev on this host"
    if (port.rx_vlan, port.tx_vlan) != (NO_VLAN, NO_VLAN):
        return "VLANs are not simulated"
    if not any(mac_bytes(port.mac_address)):
        return "it has no MAC address"
    return "" if port.link_state else "it is disabled"
