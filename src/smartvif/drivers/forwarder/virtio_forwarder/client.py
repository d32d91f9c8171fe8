"""virtio-forwarder, the daemon of that name, by its ZeroMQ services.

A relay joins a VF to a guest's vhost-user socket. Relays that are made while it runs are in the
daemon's memory only: after a restart they have to be made again.

The daemon hardly checks its requests, and ends, or corrupts its memory, for some of them; those are
refused here. It reports success for some requests that it did not do and failure for some that it
did; there its statistics decide (Netronome/virtio-forwarder, read in 2023's last version).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smartvif.drivers.forwarder.virtio_forwarder import messages, state
from smartvif.drivers.forwarder.virtio_forwarder import requests as request
from smartvif.drivers.forwarder.virtio_forwarder.channel import Channel, MalformedReply
from smartvif.drivers.forwarder.virtio_forwarder.errors import (
    MEANINGS,
    ForwarderFailed,
    accept,
    accept_read,
)
from smartvif.drivers.forwarder.virtio_forwarder.messages import (
    CONFIG,
    CORE_SCHED,
    MOST_RELAYS,
    PORT_CONTROL,
    STATS,
    CoreOp,
    PortControlOp,
    Service,
)
from smartvif.drivers.forwarder.virtio_forwarder.requests import VfBond
from smartvif.drivers.forwarder.virtio_forwarder.state import DaemonRelay, RelayCpus, RelayDevice
from smartvif.model.deadline import Deadline
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

DIRECTORY = Path("/var/run/virtio-forwarder")


class VirtioForwarder:
    """The daemon with its sockets in ``directory``.

    ``timeout`` is in seconds, for one call here, however many requests that takes. Every call here
    raises ForwarderFailed with the daemon's number; ForwarderDown and ForwarderGone, which are
    CannotTell; ForwarderSilent, which is TimedOut; MalformedReply; Invalid.
    """

    def __init__(self, directory: Path = DIRECTORY, *, timeout: float = 2.0) -> None:
        self.directory = directory
        self._timeout = timeout
        self._channels = {
            service: Channel(f"ipc://{directory / service.name}") for service in messages.SERVICES
        }

    def add(self, relay: int, device: PciAddress | VfBond, *, conditional: bool = True) -> None:
        """Give a relay a device. ``conditional``: to a relay that has it already, too."""
        deadline = self._deadline()
        fields = {**request.devices(device), "virtio_id": request.number(relay)}
        try:
            self._control(PortControlOp.ADD, deadline, conditional=conditional, **fields)
        except ForwarderFailed as error:
            # It compares addresses as text, and not all that it has are in capitals.
            if error.code != 8 or not conditional:
                raise
            found = self._read([relay], deadline)
            if [each.device for each in found] != [request.name(device)]:
                raise

    def remove(self, relay: int, device: RelayDevice, *, conditional: bool = True) -> None:
        """Remove a relay's device. ``conditional``: from a relay that has none, too.

        Where the daemon reports that it was done in part, its statistics decide.
        """
        deadline = self._deadline()
        fields = {**request.named(device), "virtio_id": request.number(relay)}
        try:
            self._control(PortControlOp.REMOVE, deadline, conditional=conditional, **fields)
        except ForwarderFailed as error:
            if error.code not in {2, 5}:
                raise
            found = self._read([relay], deadline)
            if not all(each.to_vm.state == "DPDK_UNINIT" for each in found):
                raise

    def add_sock(self, path: str, device: PciAddress | VfBond, *, conditional: bool = True) -> None:
        """Make a relay of a device and a guest's socket, by a number that the daemon chooses.

        ``conditional``: where this very relay is there, too, which the daemon itself refuses.
        """
        deadline = self._deadline()
        fields = {**request.devices(device), "vhost_path": request.path(path)}
        try:
            self._control(PortControlOp.ADD_SOCK, deadline, conditional=conditional, **fields)
        except ForwarderFailed as error:
            # 3: a device that is in use under its name in lower case, which it did not look for.
            if error.code not in {-17, 1, 3} or not conditional:
                raise
            found = self._read([], deadline)
            if not any(
                (each.socket, each.device) == (path, request.name(device)) for each in found
            ):
                raise

    def remove_sock(self, path: str, device: RelayDevice, *, conditional: bool = True) -> None:
        """Remove the relay of a device and a socket; ``conditional``: where none is, too.

        Where the daemon did half of it, now or earlier, the other half is done.
        """
        deadline = self._deadline()
        target = {"vhost_path": request.path(path)}
        try:
            self._control(
                PortControlOp.REMOVE_SOCK,
                deadline,
                conditional=conditional,
                **target,
                **request.named(device),
            )
        except ForwarderFailed as error:
            if error.code not in {1, 2, 3, 4} or (error.code == 1 and not conditional):
                raise
            relays = self._read([], deadline)
            whole = [each for each in relays if each.socket == path]
            if error.code == 2 and [each.device for each in whole] == [device]:
                # It has the address in lower case: without one it takes its own.
                self._control(
                    PortControlOp.REMOVE_SOCK, deadline, conditional=conditional, **target
                )
            elif whole or not self._remove_rest(relays, device, deadline):
                raise

    def query_pci(self, path: str) -> RelayDevice | None:
        """The device of the relay with a socket, or None while it has none.

        ForwarderFailed has 2 where there is no such socket.
        """
        reply = self._control(
            PortControlOp.QUERY_PCI, self._deadline(), vhost_path=request.path(path)
        )
        return state.device(reply.query_string) if reply.query_string else None

    def statistics(
        self, relays: Sequence[int] = (), *, include_inactive: bool = True, delay_ms: int = 0
    ) -> tuple[DaemonRelay, ...]:
        """The relays with these numbers, as far as there are such, or all.

        The daemon measures rates for ``delay_ms`` and does nothing else; that time is added to the
        deadline. A request resets the rates of all other measurements under way.
        """
        return self._read(
            relays,
            Deadline(self._timeout + request.number(delay_ms, "a delay") / 1000),
            include_inactive=include_inactive,
            delay=delay_ms,
        )

    def config(self) -> tuple[RelayCpus, ...]:
        """The relays that the daemon's configuration pins to CPUs."""
        reply = self._request(CONFIG, self._deadline())
        accept_read(reply, where=self._where(CONFIG))
        return tuple(map(state.relay_cpus, reply.relay_cpu_map))

    def eal_cores(self) -> frozenset[int]:
        """The CPUs that relays can be on."""
        return self._cores(self._deadline())

    def update(self, cpus: Sequence[RelayCpus]) -> None:
        """Move relays to other CPUs; one whose side is not up stays where it is.

        Raises: Invalid, also for CPUs and relays that the daemon does not have: it would report
        success for the ones, and write outside its table for the others.
        """
        deadline = self._deadline()
        if not cpus:
            return
        strange = {cpu for each in cpus for cpu in (each.to_vm, each.to_vf)} - self._cores(deadline)
        if strange:
            raise Invalid(f"the forwarder has no CPU {min(strange)}", hint="see its cores")
        last = max(request.number(each.relay) for each in cpus)
        if last >= MOST_RELAYS or not self._read([last], deadline):
            raise Invalid(f"the forwarder has no relay {last}")
        entries = [
            {
                "relay_number": each.relay,
                "vf2virtio_cpu": each.to_vm,
                "virtio2vf_cpu": each.to_vf,
            }
            for each in cpus
        ]
        fields = {"op": CoreOp.UPDATE, "relay_cpu_map": entries}
        reply = self._request(CORE_SCHED, deadline, **fields)
        accept(reply, "UPDATE", {}, where=self._where(CORE_SCHED))

    def _cores(self, deadline: Deadline) -> frozenset[int]:
        reply = self._request(CORE_SCHED, deadline, op=CoreOp.GET_EAL_CORES)
        accept(reply, "GET_EAL_CORES", {1: "it has none"}, where=self._where(CORE_SCHED))
        return frozenset(reply.eal_cores)

    def _remove_rest(
        self, relays: Sequence[DaemonRelay], device: RelayDevice, deadline: Deadline
    ) -> bool:
        """Take the device from a relay that has lost its socket; whether there is nothing left."""
        for each in relays:
            if each.device == device:
                if each.socket is not None:
                    return False
                # Not REMOVE_SOCK: without a socket the daemon does not survive that.
                self._control(
                    PortControlOp.REMOVE,
                    deadline,
                    conditional=False,
                    virtio_id=each.id,
                    **request.named(device),
                )
                return True
        # One that its CPU does not let go of shows no device, so it may be this.
        return all(each.idle or each.device or each.socket for each in relays)

    def _read(
        self, relays: Sequence[int], deadline: Deadline, **fields: Any
    ) -> tuple[DaemonRelay, ...]:
        asked = [request.number(each) for each in relays]
        reply = self._request(STATS, deadline, relay=asked, **{"include_inactive": True, **fields})
        accept_read(reply, where=self._where(STATS))
        return tuple(map(state.relay, reply.relay))

    def _control(self, op: PortControlOp, deadline: Deadline, **fields: Any) -> Any:
        reply = self._request(PORT_CONTROL, deadline, op=op, **fields)
        accept(reply, op.name, MEANINGS[op], where=self._where(PORT_CONTROL))
        return reply

    def _request(self, service: Service, deadline: Deadline, **fields: Any) -> Any:
        """One request and its reply, which may be one of failure."""
        sent = messages.encode(messages.new(service.request, **fields))
        channel = self._channels[service]
        if len(sent) > service.longest_request:
            raise Invalid(
                f"the request has {len(sent)} bytes", hint=f"at most {service.longest_request}"
            )
        reply = channel.exchange(sent, deadline)
        try:
            return messages.decode(service.response, reply)
        except messages.Undecodable as error:
            raise MalformedReply(
                f"virtio-forwarder's reply is no {service.response}: {error}",
                where=channel.address,
                hint="is it virtio-forwarder's endpoint?",
            ) from error

    def _where(self, service: Service) -> str:
        return self._channels[service].address

    def _deadline(self) -> Deadline:
        return Deadline(self._timeout)
