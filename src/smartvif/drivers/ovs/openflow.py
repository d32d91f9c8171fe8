"""The counters of a bridge's ports, read from ovs-vswitchd by OpenFlow 1.0.

ovs-vswitchd brings its database's statistics up to date every 5 seconds, and no more often
(ovs-vswitchd.conf.db(5), "stats-update-interval"). What it answers here is of this moment.

The messages are those of the OpenFlow Switch Specification 1.0.0, sections 5.1, 5.3.5 and 5.5.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell

_VERSION = 1
_HELLO, _ERROR, _ECHO, _ECHO_REPLY, _STATS, _STATS_REPLY = 0, 1, 2, 3, 16, 17
_PORT_STATS, _ALL_PORTS, _MORE = 4, 0xFFFF, 1
_UNKNOWN = 2**64 - 1  # a counter that the port does not have, or not until it is connected
_HEADER = struct.Struct("!BBHI")  # version, type, length with the header, transaction
_REQUEST = struct.Struct("!HHH6x")  # kind, flags, port
_BODY = struct.Struct("!HH")  # kind, flags
_ENTRY = struct.Struct("!H6x12Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatistics:
    """The counters of a port; dropped are packets that it could not take, or not pass on."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int


def port_statistics(path: Path, deadline: Deadline) -> dict[int, PortStatistics]:
    """The counters of every port, by its number, of the bridge that listens at ``path``.

    Raises: CannotTell.
    """
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(max(deadline.left(), 0.001))
            line.connect(str(path))
            line.sendall(_message(_HELLO))
            line.sendall(_message(_STATS, _REQUEST.pack(_PORT_STATS, 0, _ALL_PORTS)))
            return _answer(line)
    except (OSError, ValueError, struct.error) as error:
        raise CannotTell(
            f"no answer about the ports: {error}",
            where=str(path),
            hint="is ovs-vswitchd running? see its log",
        ) from error


def _answer(line: socket.socket) -> dict[int, PortStatistics]:
    found: dict[int, PortStatistics] = {}
    while True:
        kind, body = _receive(line)
        if kind == _ECHO:
            line.sendall(_message(_ECHO_REPLY, body))
        elif kind == _ERROR:
            raise ValueError(f"OpenFlow error {body[:4].hex()}")
        elif kind == _STATS_REPLY:
            for number, *counters in _ENTRY.iter_unpack(body[_BODY.size :]):
                known = [0 if value == _UNKNOWN else value for value in counters]
                found[number] = PortStatistics(
                    rx_packets=known[0],
                    tx_packets=known[1],
                    rx_bytes=known[2],
                    tx_bytes=known[3],
                    rx_dropped=known[4],
                    tx_dropped=known[5],
                )
            if not _BODY.unpack_from(body)[1] & _MORE:
                return found


def _message(kind: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(_VERSION, kind, _HEADER.size + len(body), 1) + body


def _receive(line: socket.socket) -> tuple[int, bytes]:
    _, kind, length, _ = _HEADER.unpack(_exactly(line, _HEADER.size))
    return kind, _exactly(line, length - _HEADER.size)


def _exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = line.recv(size - len(data))
        if not more:
            raise ValueError("the connection was closed")
        data += more
    return data
