"""The simulated virtio-forwarder's four services: a request's bytes in, the reply's bytes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from smartvif.drivers.forwarder.virtio_forwarder import messages
from smartvif.drivers.forwarder.virtio_forwarder.messages import (
    CONFIG,
    CORE_SCHED,
    MOST_VFS,
    PORT_CONTROL,
    STATS,
    CoreOp,
    PortControlOp,
    ReadStatus,
    Service,
    Status,
    Undecodable,
)
from smartvif.sim.virtio_forwarder.relays import Crash, Relays, SimulatedRelay, Traffic


class Services:
    """The daemon's services.

    Requests are checked only as far as the daemon checks them; Crash is raised where it ends.
    """

    def __init__(self, relays: Relays) -> None:
        self.relays = relays
        # When the rates of each relay were last set back, and its counters at that time.
        self._since = [(time.monotonic(), _counters(each)) for each in relays.all]
        self._acts: dict[Service, Callable[[Any], Any]] = {
            PORT_CONTROL: self._port_control,
            STATS: self._stats,
            CONFIG: self._config,
            CORE_SCHED: self._core_sched,
        }

    def respond(self, service: Service, request: bytes) -> bytes:
        """Do what a request asks, and the reply to it.

        Raises: Crash.
        """
        if len(request) > service.longest_request:
            raise Crash("an assertion: the request does not fit")
        try:
            asked = messages.decode(service.request, request)
        except Undecodable:
            failure = ReadStatus.EBADR if service in {STATS, CONFIG} else Status.ERROR
            return messages.encode(messages.new(service.response, status=failure))
        return messages.encode(self._acts[service](asked))

    def _port_control(self, asked: Any) -> Any:
        if not _is_valid(asked):
            return messages.new(PORT_CONTROL.response, status=Status.ERROR)
        if len(asked.pci_addrs) > MOST_VFS:
            raise Crash("it wrote over its stack")
        vfs = [
            f"{each.domain:04X}:{each.bus:02X}:{each.slot:02X}.{each.function:X}"
            for each in asked.pci_addrs
        ]
        name = asked.name if asked.HasField("name") else None
        path = asked.vhost_path if asked.HasField("vhost_path") else None
        # A bond is known by its name, unless exactly one address comes with that.
        device = vfs[0] if vfs and (name is None or len(vfs) == 1) else name or ""
        conditional = asked.conditional if asked.HasField("conditional") else True
        relays, found = self.relays, ""
        with relays.lock:
            match asked.op:
                case PortControlOp.ADD if len(vfs) == 1:
                    source = "virtio_forwarder_add_vf2()"
                    code = relays.add(vfs[0], asked.virtio_id, conditional=conditional)
                case PortControlOp.ADD if vfs:
                    source = "virtio_forwarder_bond_add()"
                    code = relays.add_bond(vfs, name, asked.virtio_id)
                case PortControlOp.ADD:
                    return messages.new(PORT_CONTROL.response, status=Status.ERROR)
                case PortControlOp.REMOVE:
                    source = "virtio_forwarder_remove_vf2()"
                    code = relays.remove(device, asked.virtio_id, conditional=conditional)
                case PortControlOp.ADD_SOCK:
                    source = "virtio_add_sock_dev_pair()"
                    code = relays.add_socket(path, vfs, name, conditional=conditional)
                case PortControlOp.REMOVE_SOCK:
                    source = "virtio_remove_sock_dev_pair()"
                    code = relays.remove_socket(path, device, conditional=conditional)
                case _:
                    source = "virtio_query_pci()"
                    code, found = relays.query(path)
        reply = _reply(PORT_CONTROL, code, source)
        if asked.op == PortControlOp.QUERY_PCI and code == 0:
            reply.query_string = found
        return reply

    def _stats(self, asked: Any) -> Any:
        relays = self.relays.all
        if len(asked.relay) > len(relays):
            return messages.new(STATS.response, status=ReadStatus.E2BIG)
        inactive = asked.include_inactive if asked.HasField("include_inactive") else True
        self._since = [(time.monotonic(), _counters(each)) for each in relays]
        time.sleep(asked.delay / 1000)
        with self.relays.lock:
            states = [
                self._state(relays[index])
                for index in (asked.relay or range(len(relays)))
                if index < len(relays)
            ]
        shown = [each for each in states if inactive or each.active]
        return messages.new(STATS.response, status=ReadStatus.OK, relay=shown)

    def _state(self, relay: SimulatedRelay) -> Any:
        then, before = self._since[relay.id]
        now = time.monotonic()
        after = _counters(relay)
        rates = [
            (new - old) / max(now - then, 1e-9) for new, old in zip(after, before, strict=True)
        ]
        self._since[relay.id] = (now, after)
        cpus = {}
        if relay.has_vf:
            cpus["vf_to_vm"] = relay.to_vm_cpu
        if relay.has_vm:
            cpus["vm_to_vf"] = relay.to_vf_cpu
        state = messages.new(
            "RelayState",
            id=relay.id,
            active=relay.vf_state.name == "DPDK_READY" and relay.has_vm,
            vhost={"vhost_socket_name": "NONE" if relay.socket is None else relay.socket},
            vf_to_vm=_direction(
                "vf", "vm", relay.to_vm, relay.vf_state.name, rates[:2] if relay.has_vf else None
            ),
            vm_to_vf=_direction(
                "vm", "vf", relay.to_vf, relay.vm_state.name, rates[2:] if relay.has_vm else None
            ),
            socket_id=0,
        )
        if cpus:
            state.cpu.CopyFrom(messages.new("Cpus", **cpus))
        if relay.has_vf:
            state.vf.pci_addr_str = relay.device
        return state

    def _config(self, _asked: Any) -> Any:
        entries = [
            {"relay_number": index, "vf2virtio_cpu": to_vm, "virtio2vf_cpu": to_vf}
            for index, (to_vm, to_vf) in sorted(self.relays.pins.items())
        ]
        return messages.new(CONFIG.response, status=ReadStatus.OK, relay_cpu_map=entries)

    def _core_sched(self, asked: Any) -> Any:
        if asked.op == CoreOp.GET_EAL_CORES:
            reply = _reply(CORE_SCHED, 0 if self.relays.cores else 1, "worker core request")
            reply.eal_cores.extend(sorted(self.relays.cores))
            return reply
        # Its last relay's number is one too many, and negative ones are none.
        wrong = any(each.relay_number > len(self.relays.all) for each in asked.relay_cpu_map)
        if wrong or not asked.relay_cpu_map:
            return messages.new(CORE_SCHED.response, status=Status.ERROR)
        with self.relays.lock:
            for each in asked.relay_cpu_map:
                self.relays.migrate(
                    each.relay_number, to_vm_cpu=each.vf2virtio_cpu, to_vf_cpu=each.virtio2vf_cpu
                )
        return _reply(CORE_SCHED, 0, "migrate_relay_cpus()")


def _is_valid(asked: Any) -> bool:
    """Whether port control takes a request at all; where it does not, there is no number."""
    several = len(asked.pci_addrs) > 1
    named = asked.HasField("name")
    if named and asked.op in {PortControlOp.ADD, PortControlOp.ADD_SOCK} and not several:
        return False
    if several and not named:
        return False
    if asked.op in {PortControlOp.ADD, PortControlOp.REMOVE} and not asked.HasField("virtio_id"):
        return False
    return asked.op != PortControlOp.QUERY_PCI or bool(asked.HasField("vhost_path"))


def _reply(service: Service, code: int, source: str) -> Any:
    if code == 0:
        return messages.new(service.response, status=Status.OK)
    return messages.new(
        service.response, status=Status.ERROR, error_code=code, error_code_source=source
    )


def _counters(relay: SimulatedRelay) -> tuple[int, int, int, int]:
    return (
        relay.to_vm.packets,
        relay.to_vm.bytes,
        relay.to_vf.packets,
        relay.to_vf.bytes,
    )


def _direction(
    source: str, target: str, traffic: Traffic, state: str, rates: list[float] | None
) -> dict[str, Any]:
    """One direction's fields; without rates its side is not up, and it has no counters."""
    packets, octets = rates or (0.0, 0.0)
    fields: dict[str, Any] = {
        "active": rates is not None,
        "internal_state": state,
        f"pkt_rate_rx_from_{source}": packets,
        f"byte_rate_rx_from_{source}": octets,
        f"pkt_rate_tx_to_{target}": packets,
        f"byte_rate_tx_to_{target}": octets,
    }
    if rates is not None:
        fields |= {
            f"pkts_rx_from_{source}": traffic.packets + traffic.dropped,
            f"bytes_rx_from_{source}": traffic.bytes,
            f"pkts_tx_to_{target}": traffic.packets,
            f"bytes_tx_to_{target}": traffic.bytes,
            f"pkts_dropped_{target}_queue_full": 0,
            f"pkts_dropped_{target}_not_connected": traffic.dropped,
        }
    return fields
