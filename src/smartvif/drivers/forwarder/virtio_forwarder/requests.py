"""The fields of requests to virtio-forwarder, checked.

The daemon keeps paths and names in buffers of fixed size and checks no length.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from smartvif.drivers.forwarder.virtio_forwarder.messages import MOST_VFS
from smartvif.drivers.forwarder.virtio_forwarder.state import RelayDevice
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

_LONGEST_PATH = 107  # bytes (unix(7))
_LONGEST_NAME = 19  # bytes; the daemon truncates longer ones, and then does not find them
_UINT32 = range(2**32)


class BondMode(IntEnum):
    """The mode of a bond, as DPDK numbers it."""

    ROUND_ROBIN = 0
    ACTIVE_BACKUP = 1
    BALANCE = 2
    BROADCAST = 3
    LACP = 4
    TLB = 5
    ALB = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class VfBond:
    """Several VFs as one device. ``name`` is of 1 to 19 bytes, as DPDK wants it."""

    name: str
    vfs: tuple[PciAddress, ...]
    mode: BondMode = BondMode.ACTIVE_BACKUP


def number(value: int, what: str = "a relay's number") -> int:
    """A number that fits into a request.

    Raises: Invalid.
    """
    if value not in _UINT32:
        raise Invalid(f"{value} is not {what}")
    return value


def path(text: str) -> str:
    """The path of a vhost-user socket.

    Raises: Invalid.
    """
    return _text(text, "a socket's path", longest=_LONGEST_PATH, absolute=True)


def devices(device: PciAddress | VfBond) -> dict[str, Any]:
    """The fields of a device that is to be added.

    Raises: Invalid.
    """
    if isinstance(device, PciAddress):
        return named(device)
    if not 2 <= len(device.vfs) <= MOST_VFS:
        raise Invalid(f"a bond of {len(device.vfs)} VFs", hint=f"2 to {MOST_VFS} make a bond")
    return {
        "pci_addrs": [_address(vf) for vf in device.vfs],
        "mode": int(device.mode),
        **named(device.name),
    }


def named(device: RelayDevice) -> dict[str, Any]:
    """The fields that name a device that is there.

    Raises: Invalid.
    """
    if isinstance(device, PciAddress):
        return {"pci_addrs": [_address(device)]}
    return {"name": _text(device, "a bond's name", longest=_LONGEST_NAME)}


def name(device: PciAddress | VfBond) -> RelayDevice:
    """How the daemon will name a device."""
    return device.name if isinstance(device, VfBond) else device


def _address(vf: PciAddress) -> dict[str, int]:
    return {"domain": vf.domain, "bus": vf.bus, "slot": vf.slot, "function": vf.function}


def _text(text: str, what: str, *, longest: int, absolute: bool = False) -> str:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = b""
    if (
        not 0 < len(encoded) <= longest
        or b"\0" in encoded
        or (absolute and not text.startswith("/"))
    ):
        start = "a path from '/' on, " if absolute else ""
        raise Invalid(f"{text!r} is not {what}", hint=f"{start}1 to {longest} bytes of UTF-8")
    return text
