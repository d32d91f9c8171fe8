"""Checks of single values from users, configuration and controllers."""

from __future__ import annotations

import os
import re
import uuid as uuids
from collections.abc import Iterator
from contextlib import contextmanager

from smartvif.model.errors import Invalid

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

# IEEE 802.1Q: 0 is "no VLAN", 4095 is reserved.
VLANS = range(1, 4095)
# 68 is the least an IPv4 link may have (RFC 791); 65535 is the most a packet can say.
MTUS = range(68, 65536)
# IFNAMSIZ is 16 with the closing NUL (include/uapi/linux/if.h).
IFNAME_MAX = 15
# sun_path is 108 bytes with the closing NUL (include/uapi/linux/un.h).
SOCKET_PATH_MAX = 107


@contextmanager
def about(name: str) -> Iterator[None]:
    """Add the name of the value to an Invalid that the body raises.

    Raises: Invalid.
    """
    try:
        yield
    except Invalid as error:
        raise Invalid(error.what, where=name, hint=error.hint) from error


def mac(text: str) -> str:
    """A unicast MAC address in lower case with colons.

    Raises: Invalid.
    """
    address = text.lower()
    if _MAC.fullmatch(address) is None:
        raise Invalid(f"'{text}' is not a MAC address", hint="write it like 52:54:00:12:34:56")
    if int(address[:2], 16) & 1:
        raise Invalid(f"'{text}' is a multicast MAC address", hint="the first byte must be even")
    if address == "00:00:00:00:00:00":
        raise Invalid("the MAC address is all zero", hint="write it like 52:54:00:12:34:56")
    return address


def vlan(tag: int) -> int:
    """A VLAN identifier that a port can be in.

    Raises: Invalid.
    """
    if tag not in VLANS:
        raise Invalid(f"{tag} is not a VLAN identifier", hint="it goes from 1 to 4094")
    return tag


def mtu(size: int) -> int:
    """An MTU in bytes.

    Raises: Invalid.
    """
    if size not in MTUS:
        raise Invalid(f"{size} is not an MTU", hint="it goes from 68 to 65535 bytes")
    return size


def ifname(name: str) -> str:
    """A name that the kernel takes for a netdev as it is.

    net/core/dev.c: dev_valid_name, and __dev_alloc_name, to which a '%' begins a pattern.

    Raises: Invalid.
    """
    # The kernel counts bytes, and takes 0xa0, a part of "à", for a blank (lib/ctype.c).
    encoded = name.encode(errors="surrogatepass")
    refused = re.search(rb"[\s/:%\0\xa0]", encoded) or name in {".", ".."}
    if refused or not 0 < len(encoded) <= IFNAME_MAX:
        raise Invalid(
            f"'{name}' is not a network interface name",
            hint=f"1 to {IFNAME_MAX} bytes without blanks, '/', ':' or '%'",
        )
    return name


def socket_path(path: str) -> str:
    """The path of a UNIX socket, which several programs name: so it must be absolute (unix(7)).

    Raises: Invalid.
    """
    hint = f"it is absolute, names a file, and has at most {SOCKET_PATH_MAX} bytes"
    if not path:
        raise Invalid("the path of the socket is empty", hint=hint)
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise Invalid(f"{path!r} is not the path of a socket", hint=hint) from None
    if b"\0" in encoded or not path.startswith("/") or path.rpartition("/")[2] in {"", ".", ".."}:
        raise Invalid(f"{path!r} is not the path of a socket", hint=hint)
    if len(encoded) > SOCKET_PATH_MAX:
        what = f"'{path}' is too long for a socket: it has {len(encoded)} bytes"
        raise Invalid(what, hint=hint)
    return path


def uuid(text: str) -> str:
    """A UUID in its canonical spelling: lower case, with dashes.

    Raises: Invalid.
    """
    try:
        return str(uuids.UUID(text))
    except ValueError:
        raise Invalid(
            f"'{text}' is not a UUID", hint="write it like 0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
        ) from None
