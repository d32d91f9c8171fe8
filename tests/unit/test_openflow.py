"""Counters by OpenFlow, from a server of our own that answers as ovs-vswitchd does, or worse."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smartvif.drivers.ovs.openflow import PortStatistics, port_statistics
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell

HELLO = struct.pack("!BBHI", 1, 0, 8, 7)
ECHO = struct.pack("!BBHI4s", 1, 2, 12, 9, b"ping")
REFUSED = struct.pack("!BBHIHH", 1, 1, 12, 1, 1, 2)
UNKNOWN = 2**64 - 1


def reply(*entries: tuple[int, ...], more: bool = False) -> bytes:
    """Port statistics: a number, and the twelve counters of each."""
    body = struct.pack("!HH", 4, int(more))
    body += b"".join(struct.pack("!H6x12Q", *entry) for entry in entries)
    return struct.pack("!BBHI", 1, 17, 8 + len(body), 1) + body


ONE = (1, 10, 20, 1000, 2000, 3, 4, 0, 0, 0, 0, 0, 0)
TWO = (2, UNKNOWN, 21, 1100, 2100, UNKNOWN, 5, 0, 0, 0, 0, 0, 0)


@contextmanager
def answering(path: Path, *messages: bytes) -> Iterator[list[bytes]]:
    """A server that says all this to the first who asks; what it heard."""
    heard: list[bytes] = []

    def serve() -> None:
        line, _ = server.accept()
        with line:
            heard.append(line.recv(8, socket.MSG_WAITALL) + line.recv(20, socket.MSG_WAITALL))
            for message in messages:
                line.sendall(message[:5])
                line.sendall(message[5:])
            if ECHO in messages:
                heard.append(line.recv(12, socket.MSG_WAITALL))

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            thread.join()


def test_counters(tmp_path: Path) -> None:
    """All parts of the answer count, an echo is answered, and what is not counted is zero."""
    path = tmp_path / "br.mgmt"
    with answering(path, HELLO, ECHO, reply(ONE, more=True), reply(TWO)) as heard:
        found = port_statistics(path, Deadline(5.0))
    assert found == {
        1: PortStatistics(
            rx_packets=10, tx_packets=20, rx_bytes=1000, tx_bytes=2000, rx_dropped=3, tx_dropped=4
        ),
        2: PortStatistics(
            rx_packets=0, tx_packets=21, rx_bytes=1100, tx_bytes=2100, rx_dropped=0, tx_dropped=5
        ),
    }
    question = struct.pack("!BBHIHHH6x", 1, 16, 20, 1, 4, 0, 0xFFFF)
    assert heard[0] == struct.pack("!BBHI", 1, 0, 8, 1) + question
    assert heard[1][8:] == b"ping"
    assert heard[1][1] == 3


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ((HELLO, REFUSED), "OpenFlow error 00010002"),
        ((HELLO,), "the connection was closed"),
        ((HELLO, reply(ONE)[:-4]), "the connection was closed"),
        ((struct.pack("!BBHI", 1, 17, 4, 1),), "no answer about the ports"),
    ],
)
def test_no_counters(tmp_path: Path, messages: tuple[bytes, ...], words: str) -> None:
    """Whatever is wrong with the answer, nobody can tell."""
    path = tmp_path / "br.mgmt"
    with answering(path, *messages), pytest.raises(CannotTell, match=words):
        port_statistics(path, Deadline(5.0))


def test_nobody_there(tmp_path: Path) -> None:
    """Without ovs-vswitchd nobody can tell; a silent one has until the deadline."""
    with pytest.raises(CannotTell, match="No such file"):
        port_statistics(tmp_path / "none", Deadline(5.0))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "silent"))
        server.listen()
        with pytest.raises(CannotTell, match="timed out"):
            port_statistics(tmp_path / "silent", Deadline(0.01))
