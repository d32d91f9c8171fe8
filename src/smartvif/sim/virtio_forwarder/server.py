"""The simulated virtio-forwarder's sockets: one for each service, as the daemon's."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from smartvif.drivers.forwarder.virtio_forwarder.messages import SERVICES, Service
from smartvif.model.errors import Failed
from smartvif.sim.virtio_forwarder.relays import Crash, Relays
from smartvif.sim.virtio_forwarder.services import Services

_POLL = 20  # milliseconds within which a stop is noticed
_PATIENCE = 1000  # milliseconds, the daemon's, for a client to take what it is sent
_RELAY_STATE = 960  # bytes of the daemon's buffer


class ZmqServer:
    """The services of ``relays`` at ``directory``; each answers one request after the other.

    ``ended`` is set when all have ended: told to, or by a request that the daemon does not survive,
    whose reason is then ``crash``.
    """

    def __init__(self, directory: Path, relays: Relays) -> None:
        self.directory = directory
        self.relays = relays
        self.ended = threading.Event()
        self.crash: str | None = None
        self._services = Services(relays)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Bind the sockets, which are there when this returns, and answer.

        Raises: Failed, where that is not possible.
        """
        import zmq

        self._context = zmq.Context()
        bound: list[tuple[Service, Any]] = []
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for service in SERVICES:
                channel = self._context.socket(zmq.REP)
                bound.append((service, channel))
                channel.linger = _PATIENCE
                channel.sndtimeo = channel.rcvtimeo = _PATIENCE
                channel.setsockopt(zmq.MAXMSGSIZE, self._longest(service))
                channel.bind(f"ipc://{self.directory / service.name}")
        except (OSError, zmq.ZMQError) as error:
            for _, channel in bound:
                channel.close(linger=0)
            self._context.term()
            raise Failed(
                f"cannot serve: {error}", where=f"simulated virtio-forwarder, {self.directory}"
            ) from error
        self._threads = [threading.Thread(target=self._serve, args=each) for each in bound]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the services, if they have not ended, and forget nothing of the relays."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._context.term()
        self.ended.set()

    def _longest(self, service: Service) -> int:
        """Bytes of a request for which a client is disconnected at once."""
        response = service.longest_response
        if service.name == "stats":
            response = _RELAY_STATE * len(self.relays.all)
        return max(service.longest_request, response)

    def _serve(self, service: Service, channel: Any) -> None:
        import zmq

        try:
            while not self._stop.is_set():
                if not channel.poll(_POLL):
                    continue
                request = channel.recv()
                # Of several frames it takes the first and answers too early, which ends the thread.
                if channel.getsockopt(zmq.RCVMORE):
                    return
                channel.send(self._services.respond(service, request))
        except Crash as crash:
            self.crash = str(crash)
            self._stop.set()
            self.ended.set()
        finally:
            channel.close(linger=0 if self.crash else None)
