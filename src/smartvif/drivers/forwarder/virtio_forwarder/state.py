"""The relays that virtio-forwarder reports, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

_NO_SOCKET = "NONE"
_ANY_NODE = 2**32 - 1  # DPDK's SOCKET_ID_ANY, -1, as the daemon writes it

RelayDevice = PciAddress | str
"""A VF, or the name of a bond of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of a relay: what came in at one side, and what went out at the other.

    ``state`` is the daemon's word for the side where packets come in, like ``DPDK_READY``. Counters
    are of the relay's number, not of its VF or machine, and stay when these change; they are None
    while that side is not up. The daemon never counts drops for a full queue. Rates are per second,
    since the start of the request, and mean nothing without a delay.
    """

    active: bool
    state: str
    cpu: int | None
    packets_in: int | None
    bytes_in: int | None
    packets_out: int | None
    bytes_out: int | None
    dropped_queue_full: int | None
    dropped_not_connected: int | None
    packet_rate_in: float
    byte_rate_in: float
    packet_rate_out: float
    byte_rate_out: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRelay:
    """One relay. ``active`` is with machine and VF; ``node`` is the NUMA node of its memory."""

    id: int
    active: bool
    socket: str | None
    device: RelayDevice | None
    node: int | None
    to_vm: Direction
    to_vf: Direction

    @property
    def idle(self) -> bool:
        """Whether it has neither a VF nor a machine, nor is it being taken away from either."""
        return self.to_vm.state == "DPDK_UNINIT" and self.to_vf.state == "VIRTIO_UNINIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCpus:
    """The CPUs that one relay's two directions are on."""

    relay: int
    to_vm: int
    to_vf: int


def device(text: str) -> RelayDevice:
    """A device as the daemon names it: it writes PCI addresses in either case."""
    try:
        return PciAddress.parse(text)
    except Invalid:
        return text


def relay(state: Any) -> DaemonRelay:
    """The relay of a ``RelayState``."""
    name = state.vhost.vhost_socket_name
    found = state.vf.pci_addr_str
    return DaemonRelay(
        id=state.id,
        active=state.active,
        socket=None if name == _NO_SOCKET else name,
        device=device(found) if found else None,
        node=None if state.socket_id == _ANY_NODE else state.socket_id,
        to_vm=_direction(state, "vf_to_vm", "vf", "vm"),
        to_vf=_direction(state, "vm_to_vf", "vm", "vf"),
    )


def relay_cpus(entry: Any) -> RelayCpus:
    """The CPUs of a ``RelayCpu``."""
    return RelayCpus(relay=entry.relay_number, to_vm=entry.vf2virtio_cpu, to_vf=entry.virtio2vf_cpu)


def _direction(state: Any, way: str, source: str, target: str) -> Direction:
    said = getattr(state, way)

    def counter(name: str) -> int | None:
        return getattr(said, name) if said.HasField(name) else None

    return Direction(
        active=said.active,
        state=said.internal_state,
        cpu=getattr(state.cpu, way) if state.cpu.HasField(way) else None,
        packets_in=counter(f"pkts_rx_from_{source}"),
        bytes_in=counter(f"bytes_rx_from_{source}"),
        packets_out=counter(f"pkts_tx_to_{target}"),
        bytes_out=counter(f"bytes_tx_to_{target}"),
        dropped_queue_full=counter(f"pkts_dropped_{target}_queue_full"),
        dropped_not_connected=counter(f"pkts_dropped_{target}_not_connected"),
        packet_rate_in=getattr(said, f"pkt_rate_rx_from_{source}"),
        byte_rate_in=getattr(said, f"byte_rate_rx_from_{source}"),
        packet_rate_out=getattr(said, f"pkt_rate_tx_to_{target}"),
        byte_rate_out=getattr(said, f"byte_rate_tx_to_{target}"),
    )
