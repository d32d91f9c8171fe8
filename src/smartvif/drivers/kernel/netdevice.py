"""A netdev's state, address and MTU by the calls of netdevice(7), and taps by those of tun.

rtnetlink can do most of it too; but through a library it costs up to a hundred times as much, and
every plug uses these. All other operations on links are in ``kernel.links``.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from dataclasses import dataclass

# include/uapi/linux/sockios.h
_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
_GET_MTU, _SET_MTU = 0x8921, 0x8922
_SET_MAC, _GET_MAC = 0x8924, 0x8927
# include/uapi/linux/if_tun.h
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
_IFF_TAP, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_TUN_EXCL = 0x2, 0x100, 0x1000, 0x8000
_IFF_UP = 1  # include/uapi/linux/if.h
_ARPHRD_ETHER = 1  # include/uapi/linux/if_arp.h
_NAME, _UNION = 16, 24  # bytes of the two parts of struct ifreq, include/uapi/linux/if.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A netdev. ``mtu`` in bytes."""

    name: str
    mac: str
    mtu: int
    up: bool


def get(channel: socket.socket, name: str) -> Link | None:
    """The link called ``name`` in the channel's network namespace, or None.

    Raises: OSError.
    """
    try:
        (flags,) = struct.unpack_from("H", _call(channel, _GET_FLAGS, name))
        (mtu,) = struct.unpack_from("i", _call(channel, _GET_MTU, name))
        address = _call(channel, _GET_MAC, name)[2:8]
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return Link(name=name, mac=address.hex(":"), mtu=mtu, up=bool(flags & _IFF_UP))


def set_up(channel: socket.socket, name: str, *, up: bool) -> None:
    """Bring a link up or down.

    Raises: OSError.
    """
    (flags,) = struct.unpack_from("H", _call(channel, _GET_FLAGS, name))
    wanted = flags | _IFF_UP if up else flags & ~_IFF_UP
    _call(channel, _SET_FLAGS, name, struct.pack("H", wanted))


def set_mtu(channel: socket.socket, name: str, mtu: int) -> None:
    """Set a link's MTU in bytes.

    Raises: OSError.
    """
    _call(channel, _SET_MTU, name, struct.pack("i", mtu))


def set_mac(channel: socket.socket, name: str, mac: str) -> None:
    """Set an Ethernet link's address.

    Raises: OSError.
    """
    address = bytes.fromhex(mac.replace(":", ""))
    _call(channel, _SET_MAC, name, struct.pack("H6s", _ARPHRD_ETHER, address))


def add_tap(name: str, *, owner: int, multi_queue: bool) -> None:
    """Make a TAP in this process's network namespace that the user ``owner`` may open.

    It stays when it is closed. (Documentation/networking/tuntap.rst)
    Raises: OSError.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL | (_IFF_MULTI_QUEUE if multi_queue else 0)
    with open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack(f"{_NAME}sH22x", name.encode(), flags))
        fcntl.ioctl(tun, _TUNSETOWNER, owner)
        fcntl.ioctl(tun, _TUNSETPERSIST, 1)


def _call(channel: socket.socket, request: int, name: str, value: bytes = b"") -> bytes:
    encoded = name.encode()
    if len(encoded) >= _NAME:
        raise OSError(errno.ENODEV, "no link has so long a name", name)
    answer = fcntl.ioctl(channel, request, struct.pack(f"{_NAME}s{_UNION}s", encoded, value))
    return answer[_NAME:]
