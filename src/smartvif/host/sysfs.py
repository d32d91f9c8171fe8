"""One sysfs attribute or link; a device may vanish between any two of these reads."""

from __future__ import annotations

import os


def read(path: str) -> str | None:
    """The text of an attribute without its final newline.

    None when it is not there, or when its driver has no answer: ``phys_port_name`` of a device
    without one reads as EOPNOTSUPP (Documentation/ABI/testing/sysfs-class-net).
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Attributes are at most one page (Documentation/filesystems/sysfs.rst).
        return os.read(handle, 4096).decode(errors="replace").strip()
    except OSError:
        return None
    finally:
        os.close(handle)


def number(path: str) -> int | None:
    """An attribute that is a decimal number; None when it is not there or is none."""
    text = read(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def target(path: str) -> str | None:
    """The last part of what a link points to: the name of a driver, a group, or a device."""
    try:
        return os.readlink(path).rpartition("/")[2]
    except OSError:
        return None


def names(path: str) -> list[str]:
    """What is in a directory, in no order; nothing when it is not there."""
    try:
        return os.listdir(path)
    except OSError:
        return []
