"""Vital product data of a card (PCI Local Bus Specification 3.0, appendix I)."""

from __future__ import annotations

_READ_ONLY = 0x90  # the large resource VPD-R
_LARGE = 0x80
_END = 0x78
_SERIAL = b"SN"


def serial(path: str) -> str | None:
    """The serial number in a ``vpd`` file of sysfs; None where it has none or cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    fields = _read_only_fields(data)
    at = 0
    # Each field is two letters, the length of its value, and the value.
    while at + 3 <= len(fields):
        end = at + 3 + fields[at + 2]
        if fields[at : at + 2] == _SERIAL:
            return fields[at + 3 : end].decode("ascii", "replace").strip(" \0") or None
        at = end
    return None


def _read_only_fields(data: bytes) -> bytes:
    at = 0
    while at < len(data) and data[at] != _END:
        tag = data[at]
        if not tag & _LARGE:
            at += 1 + (tag & 0x07)
            continue
        end = at + 3 + int.from_bytes(data[at + 1 : at + 3], "little")
        if tag == _READ_ONLY:
            return data[at + 3 : end]
        at = end
    return b""
