"""A vif: a network interface of the vRouter, and the packet socket by which it has its frames."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from uuid import UUID

# include/uapi/linux/socket.h, include/uapi/linux/if_packet.h
_SOL_PACKET = 263
_STATISTICS, _AUXDATA, _VNET_HDR, _IGNORE_OUTGOING = 6, 8, 15, 23
_VLAN_VALID = 1 << 4
_AUX = struct.Struct("IIIHHHH")  # struct tpacket_auxdata: its status comes first
_STATS = struct.Struct("II")  # struct tpacket_stats: packets, drops
_ETH_P_ALL = 3  # include/uapi/linux/if_ether.h
_VLAN_TYPES = (b"\x81\x00", b"\x88\xa8")

HEADER = 10
"""Bytes of the struct virtio_net_hdr ahead of each frame (include/uapi/linux/virtio_net.h)."""

# The longest is a TCP segment that is yet to be cut.
_BUFFER = HEADER + 14 + (1 << 16)
_QUEUE = 4 << 20  # bytes; the kernel gives what net.core.rmem_max allows


class PacketSocket:
    """All frames that come in by a netdev, and a way out of it (packet(7)).

    Each frame has the kernel's virtio_net_hdr ahead. Written with the frame to the other side, it
    lets segments pass that are not yet cut or summed.
    """

    def __init__(self, netdev: str) -> None:
        """Raises: OSError."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._buffer = memoryview(bytearray(_BUFFER))
        try:
            for option in (_VNET_HDR, _AUXDATA, _IGNORE_OUTGOING):
                self._socket.setsockopt(_SOL_PACKET, option, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
            self._socket.bind((netdev, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def receive(self) -> memoryview | str | None:
        """The next frame, its header ahead; valid until the next call. None: there is none now.

        For a frame that is not to be passed on: why not.
        Raises: OSError, once, when the netdev goes down.
        """
        try:
            size, ancillary, flags, _ = self._socket.recvmsg_into(
                [self._buffer], socket.CMSG_SPACE(_AUX.size)
            )
        except BlockingIOError:
            return None
        if flags & socket.MSG_TRUNC:
            return "too long"
        if size < HEADER + 14:
            return "too short"
        frame = self._buffer[:size]
        # The kernel takes a tag out of the frame and tells of it beside.
        tagged = any(_AUX.unpack(data[: _AUX.size])[0] & _VLAN_VALID for _, _, data in ancillary)
        if tagged or frame[HEADER + 12 : HEADER + 14] in _VLAN_TYPES:
            return "VLAN tag"
        return frame

    def send(self, frame: memoryview) -> None:
        """Send a frame as ``receive`` gave it.

        Raises: OSError.
        """
        self._socket.send(frame)

    def missed(self) -> int:
        """How many frames found the queue full since the last call."""
        answer = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _STATS.size)
        return int(_STATS.unpack(answer)[1])

    def close(self) -> None:
        """Give the netdev up."""
        self._socket.close()


@dataclass(slots=True, kw_only=True, eq=False)
class VRouterInterface:
    """A port's vif; or a tunnel's, which has no address of its own.

    It is active while it has a ``socket``, open on the netdev of number ``index``. ``reason`` says
    why it is not; ``refused`` is a reason that will not pass.
    """

    id: str
    netdev: str
    network: UUID
    mac: bytes | None
    refused: str = ""
    reason: str = ""
    socket: PacketSocket | None = field(default=None, repr=False)
    index: int = 0
    received: int = 0
    sent: int = 0

    @property
    def tunnel(self) -> bool:
        """It leads to other hosts."""
        return self.mac is None
