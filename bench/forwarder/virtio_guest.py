"""A guest's end of a vhost-user socket that only sends: what a relay can take, and not a guest.

It serves the socket, as QEMU does, and lays out the two rings of a network device in memory that
it shares (vhost-user protocol, QEMU's docs/interop/vhost-user.rst; virtio 1.1, 2.6 "Split
Virtqueues"). All descriptors of the transmit ring hold the same frame, ready made, and the other
end takes them in their order: so to send a ring of packets again is to write one number.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import time
from array import array
from contextlib import ExitStack
from pathlib import Path

RING = 256  # descriptors, QEMU's default
_PAUSE = 50e-6  # seconds between two looks at the ring: it is never emptied in less

# include/standard-headers/linux/virtio_config.h, virtio_ring.h; vhost-user.rst, "Message types"
_VERSION_1, _PROTOCOL_FEATURES = 1 << 32, 1 << 30
_WRITE, _NO_INTERRUPT = 2, 1
_GET_FEATURES, _SET_FEATURES, _SET_OWNER, _SET_MEM_TABLE = 1, 2, 3, 5
_SET_NUM, _SET_ADDR, _SET_BASE, _SET_KICK, _SET_CALL = 8, 9, 10, 12, 13
_GET_PROTOCOL, _SET_PROTOCOL, _SET_ENABLE = 15, 16, 18
_REPLIED = (_GET_FEATURES, _GET_PROTOCOL)
_HEADER = struct.Struct("<III")  # request, flags, size

_BASE = 1 << 44  # where the memory would be in this process: the protocol speaks of such addresses
_SIZE = 1 << 21
_SLOT = 2048  # bytes for each packet
_NET_HEADER = 12  # struct virtio_net_hdr_v1, all zero: nothing is left to be done for the packet
_QUEUES = (0, 1)  # receive, transmit
_DESCRIPTORS, _AVAILABLE, _USED, _BUFFERS = 0x0, 0x4000, 0x8000, 0x10000
_QUEUE_SIZE = 0x100000


class Sender:
    """The guest, with its socket at ``path``, listening. Close it when done."""

    def __init__(self, path: Path, frame: bytes) -> None:
        self._stack = ExitStack()
        self._listening = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        self._listening.bind(str(path))
        self._listening.listen()
        self._listening.settimeout(20.0)
        self._memory_fd = os.memfd_create("guest")
        self._stack.callback(os.close, self._memory_fd)
        os.ftruncate(self._memory_fd, _SIZE)
        self._memory = mmap.mmap(self._memory_fd, _SIZE)
        for queue in _QUEUES:
            self._fill(queue, frame)
        self._line: socket.socket | None = None

    def accept(self) -> None:
        """Take the relay's connection and hand it the device, with its driver up."""
        self._line, _ = self._listening.accept()
        self._stack.enter_context(self._line)
        self._line.settimeout(20.0)
        features = self._ask(_GET_FEATURES)
        assert features & _VERSION_1
        self._ask(_GET_PROTOCOL)
        self._tell(_SET_PROTOCOL, struct.pack("<Q", 0))
        self._tell(_SET_OWNER)
        self._tell(_SET_FEATURES, struct.pack("<Q", _VERSION_1 | _PROTOCOL_FEATURES))
        region = struct.pack("<IIQQQQ", 1, 0, 0, _SIZE, _BASE, 0)
        self._tell(_SET_MEM_TABLE, region, self._memory_fd)
        for queue in _QUEUES:
            start = _BASE + queue * _QUEUE_SIZE
            places = (start + _DESCRIPTORS, start + _USED, start + _AVAILABLE, 0)
            self._tell(_SET_NUM, struct.pack("<II", queue, RING))
            self._tell(_SET_BASE, struct.pack("<II", queue, 0))
            self._tell(_SET_ADDR, struct.pack("<IIQQQQ", queue, 0, *places))
            for request in (_SET_CALL, _SET_KICK):
                event = os.eventfd(0)
                self._tell(request, struct.pack("<Q", queue), event)
                os.close(event)
            self._tell(_SET_ENABLE, struct.pack("<II", queue, 1))

    def send(self, seconds: float, pace: float | None = None) -> int:
        """Send ``pace`` packets per second, or a full ring again and again: how many were taken."""
        memory = self._memory
        available = _QUEUES[1] * _QUEUE_SIZE + _AVAILABLE + 2
        used = _QUEUES[1] * _QUEUE_SIZE + _USED + 2
        number = struct.Struct("<H")
        taken, last = 0, number.unpack_from(memory, used)[0]
        given = (number.unpack_from(memory, available)[0] - last) % 65536
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            now = number.unpack_from(memory, used)[0]
            taken += (now - last) % 65536
            last = now
            due = taken + RING if pace is None else min(taken + RING, int(passed * pace))
            if due > given:
                number.pack_into(memory, available, (now + due - taken) % 65536)
                given = due
            time.sleep(_PAUSE)
        return taken

    def close(self) -> None:
        """Go away, as a guest that is switched off."""
        self._stack.close()
        self._memory.close()

    def _fill(self, queue: int, frame: bytes) -> None:
        start = queue * _QUEUE_SIZE
        packet = bytes(_NET_HEADER) + frame
        sends = queue == _QUEUES[1]
        length, flags = (len(packet), 0) if sends else (_SLOT, _WRITE)
        for number in range(RING):
            place = start + _BUFFERS + number * _SLOT
            at = start + _DESCRIPTORS + number * 16
            struct.pack_into("<QIHH", self._memory, at, place, length, flags, 0)
            if sends:
                self._memory[place : place + len(packet)] = packet
        ring = array("H", [_NO_INTERRUPT, 0 if sends else RING, *range(RING)])
        at = start + _AVAILABLE
        self._memory[at : at + len(ring) * 2] = ring.tobytes()

    def _tell(self, request: int, body: bytes = b"", descriptor: int | None = None) -> None:
        assert self._line is not None
        message = _HEADER.pack(request, 1, len(body)) + body
        if descriptor is None:
            self._line.sendall(message)
        else:
            socket.send_fds(self._line, [message], [descriptor])

    def _ask(self, request: int) -> int:
        assert self._line is not None
        assert request in _REPLIED
        self._tell(request)
        reply = self._line.recv(_HEADER.size + 8, socket.MSG_WAITALL)
        value: int = struct.unpack_from("<Q", reply, _HEADER.size)[0]
        return value
