"""One request to virtio-forwarder and its reply, over ZeroMQ.

The daemon answers with a REP socket, one request after the other. Ours is a DEALER that speaks as a
REQ does, an empty frame before the one frame of the message, because a REQ passes in silence over a
reply that is out of order, and is unusable after a time-out. Each request has a socket of its own:
a reply that comes too late is discarded (zmq_socket(3)).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smartvif.drivers.forwarder.virtio_forwarder.messages import INSTALL
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell, Failed, Invalid, TimedOut

if TYPE_CHECKING:
    import zmq

_MOST = 1 << 20  # bytes of a reply; the daemon's longest are some ten thousand
_NEVER = 3_600_000  # milliseconds
_SEE = "see: systemctl status virtio-forwarder"


class ForwarderDown(CannotTell):
    """No process listens at the daemon's address."""


class ForwarderGone(CannotTell):
    """The daemon took the request and ended, or broke off, before it answered."""


class ForwarderSilent(TimedOut):
    """A process listens there and did not answer in time."""


class MalformedReply(Failed):
    """What came is not a reply of the daemon."""


class Channel:
    """One endpoint of the daemon; any ZeroMQ address, like ``ipc:///run/.../stats``.

    One request at a time, for all threads: the daemon serves no more.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._turn = threading.Lock()

    def exchange(self, request: bytes, deadline: Deadline) -> bytes:
        """Send a request, and the reply to it.

        Raises: Invalid, for a malformed address; ForwarderDown, ForwarderGone, ForwarderSilent,
        MalformedReply; Failed, where this machine has no ZeroMQ, or no room for a socket.
        """
        try:
            import zmq
        except ImportError as error:
            raise Failed("pyzmq is not installed", hint=INSTALL) from error

        if not self._turn.acquire(timeout=deadline.left()):
            raise ForwarderSilent(
                f"no answer within {deadline.seconds:g} s to the request before", where=self.address
            )
        try:
            with self._connected() as (channel, events):
                return self._ask(channel, events, request, deadline)
        except zmq.ZMQError as error:
            raise Failed(f"ZeroMQ: {error}", where=self.address) from error
        finally:
            self._turn.release()

    @contextmanager
    def _connected(self) -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
        """A socket, and another with the library's events of its connection."""
        import zmq

        # A context for each: one that is kept does not survive a fork.
        with zmq.Context() as context, context.socket(zmq.DEALER) as channel:
            channel.linger = 0
            channel.setsockopt(zmq.MAXMSGSIZE, _MOST)
            # Never again, but not -1: with that, what was received goes with the connection.
            channel.reconnect_ivl = _NEVER
            with channel.get_monitor_socket(
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_CLOSED
                | zmq.EVENT_DISCONNECTED
            ) as events:
                events.linger = 0
                try:
                    channel.connect(self.address)
                except zmq.ZMQError as error:
                    raise Invalid(
                        f"'{self.address}' is not an endpoint: {error}",
                        hint="write it like ipc:///var/run/virtio-forwarder/port_control",
                    ) from error
                try:
                    yield channel, events
                finally:
                    channel.disable_monitor()

    def _ask(self, channel: Any, events: Any, request: bytes, deadline: Deadline) -> bytes:
        import zmq
        from zmq.utils.monitor import recv_monitor_message

        # Sent earlier, the request would wait in a queue if no daemon is there.
        if not _poll(deadline, events):
            raise self._silent("did not take the request", deadline)
        if recv_monitor_message(events)["event"] != zmq.EVENT_HANDSHAKE_SUCCEEDED:
            raise ForwarderDown("no virtio-forwarder answers there", where=self.address, hint=_SEE)
        channel.send_multipart([b"", request])
        if not _poll(deadline, channel, events):
            raise self._silent("did not answer", deadline)
        # What came before the connection was lost is still there to be read.
        if not channel.poll(0):
            raise ForwarderGone(
                "virtio-forwarder broke off before it answered: whether it did it is unknown",
                where=self.address,
                hint=_SEE,
            )
        frames = channel.recv_multipart()
        if len(frames) != 2 or frames[0]:
            raise MalformedReply(
                f"virtio-forwarder's reply has {len(frames)} frames, not an empty one and one",
                where=self.address,
                hint="is it virtio-forwarder's endpoint?",
            )
        reply: bytes = frames[1]
        return reply

    def _silent(self, what: str, deadline: Deadline) -> ForwarderSilent:
        return ForwarderSilent(
            f"virtio-forwarder {what} within {deadline.seconds:g} s",
            where=self.address,
            hint="it may be at work still; see its log",
        )


def _poll(deadline: Deadline, *channels: Any) -> bool:
    """Wait until one of the sockets has something to read; whether that was in time."""
    import zmq

    poller = zmq.Poller()
    for channel in channels:
        poller.register(channel, zmq.POLLIN)
    return bool(poller.poll(math.ceil(deadline.left() * 1000)))
