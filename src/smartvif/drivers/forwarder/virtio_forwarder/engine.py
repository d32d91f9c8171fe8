"""The forwarder engine that is virtio-forwarder, the daemon of that name.

It takes VFs that are bound to vfio-pci. It knows relays by their sockets and not by ports, and when
it ends it forgets those that were made while it ran: ``matches`` detects it, and they are made
again. MTU and queues are the daemon's own settings, the same for all its relays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from smartvif.drivers.forwarder.engine import (
    DirectionCounters,
    EngineCapacity,
    EngineOptions,
    NamespaceLinks,
    RelayCounters,
    RelaySpec,
    RelayState,
)
from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.state import DaemonRelay, Direction
from smartvif.drivers.kernel.api import LinkDriver
from smartvif.drivers.kernel.unix_sockets import remove_socket
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

_MTU = 0  # the daemon does not say


class VirtioForwarderEngine:
    """The daemon behind ``client``. The contract of the methods is in ``ForwarderEngine``.

    A port's relay is the one whose socket has the port's identifier as its name, before ``.sock``.
    """

    def __init__(self, client: VirtioForwarder) -> None:
        self._client = client

    @classmethod
    def open(
        cls, options: EngineOptions, inside: Callable[[], NamespaceLinks] | None = None
    ) -> VirtioForwarderEngine:
        """The daemon whose directory of sockets the options name; it is in our namespace.

        Raises: Invalid, where they name none.
        """
        if not options.daemon:
            raise Invalid(
                "virtio-forwarder needs the directory of its sockets",
                where="forwarder",
                hint="set 'daemon'",
            )
        return cls(VirtioForwarder(Path(options.daemon), timeout=options.timeout))

    def check_alive(self) -> None:
        """Check that the daemon answers.

        Raises: CannotTell, TimedOut.
        """
        self._client.eal_cores()

    def capacity(self) -> EngineCapacity:
        """The relays, of as many as the daemon has numbers for; it has memory for all of them."""
        relays = self._client.statistics()
        return EngineCapacity(
            relays=sum(not relay.idle for relay in relays), most=len(relays), hugepages=False
        )

    def add(self, spec: RelaySpec, links: LinkDriver) -> None:
        """Make the relay. Idempotent.

        Raises: Invalid, for a VF with a netdev; Failed with the daemon's meaning, TimedOut.
        """
        self._client.add_sock(spec.socket, _address(spec))

    def remove(self, spec: RelaySpec) -> None:
        """Remove the relay. Idempotent.

        Raises: as ``add``.
        """
        self._client.remove_sock(spec.socket, _address(spec))
        remove_socket(spec.socket)

    def matches(self, spec: RelaySpec) -> bool:
        """Whether the daemon has a relay of this socket and this VF."""
        wanted = (spec.socket, _address(spec))
        return any((relay.socket, relay.device) == wanted for relay in self._client.statistics())

    def relay_spec(self, port_id: str) -> RelaySpec | None:
        """The relay with a socket of the port's name and one VF, or None."""
        relay = self._find(port_id)
        if relay is None or relay.socket is None or not isinstance(relay.device, PciAddress):
            return None
        return RelaySpec(port_id=port_id, socket=relay.socket, mtu=_MTU, pci=relay.device)

    def state(self, port_id: str) -> RelayState | None:
        """The observed state of a port's relay, or None."""
        relay = self._find(port_id)
        return _state(relay) if relay is not None else None

    def states(self) -> Mapping[str, RelayState]:
        """The observed state of each relay, by the name of its socket."""
        relays = self._client.statistics()
        return {_port(relay): _state(relay) for relay in relays if relay.socket is not None}

    def statistics(self, port_id: str) -> RelayCounters | None:
        """The counters of the relay's number; the daemon does not reset them with each relay."""
        relay = self._find(port_id)
        if relay is None:
            return None
        to_guest, from_guest = relay.to_vm, relay.to_vf
        return RelayCounters(
            to_guest=DirectionCounters(
                packets=to_guest.packets_out or 0,
                bytes=to_guest.bytes_out or 0,
                drops=_drops(to_guest),
            ),
            from_guest=DirectionCounters(
                packets=from_guest.packets_in or 0,
                bytes=from_guest.bytes_in or 0,
                drops=_drops(from_guest),
            ),
        )

    def _find(self, port_id: str) -> DaemonRelay | None:
        found = (relay for relay in self._client.statistics() if relay.socket is not None)
        return next((relay for relay in found if _port(relay) == port_id), None)


def _address(spec: RelaySpec) -> PciAddress:
    if spec.pci is None:
        raise Invalid(
            f"virtio-forwarder takes VFs by their PCI address, and not {spec.netdev}",
            where=f"port {spec.port_id}",
            hint="use the forwarder that is OVS-DPDK for simulated VFs",
        )
    return spec.pci


def _port(relay: DaemonRelay) -> str:
    return Path(relay.socket or "").stem


def _state(relay: DaemonRelay) -> RelayState:
    failure = None if relay.device is not None else "the relay has no VF"
    return RelayState(
        failure=failure,
        link_up=relay.active,
        says={
            "number": relay.id,
            "socket": relay.socket,
            "device": str(relay.device) if relay.device is not None else None,
            "numa_node": relay.node,
            "to_guest": relay.to_vm.state,
            "from_guest": relay.to_vf.state,
        },
    )


def _drops(way: Direction) -> int:
    return (way.dropped_queue_full or 0) + (way.dropped_not_connected or 0)
