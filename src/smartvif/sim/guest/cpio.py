"""A cpio archive as the kernel unpacks one: the "newc" format.

Written here because cpio(1) needs real root to store a device node, and an initramfs without
/dev/console gives its first process no standard input or output
(Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst).
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CpioEntry:
    """One file. ``name`` is relative; ``mode`` has the type bits; ``device`` is (major, minor)."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> CpioEntry:
    """A directory that every user may read."""
    return CpioEntry(name=name, mode=stat.S_IFDIR | 0o755)


def program(name: str, data: bytes) -> CpioEntry:
    """A regular file that every user may run."""
    return CpioEntry(name=name, mode=stat.S_IFREG | 0o755, data=data)


def character_device(name: str, major: int, minor: int) -> CpioEntry:
    """A character device node for root."""
    return CpioEntry(name=name, mode=stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[CpioEntry]) -> bytes:
    """The archive of ``entries`` in their order; the same entries give the same bytes."""
    members = [*entries, CpioEntry(name="TRAILER!!!", mode=0)]
    return b"".join(_member(inode, entry) for inode, entry in enumerate(members, start=1))


def _member(inode: int, entry: CpioEntry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # Linux, Documentation/driver-api/early-userspace/buffer-format.rst: c_ino, c_mode, c_uid,
    # c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum.
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + "".join(f"{field:08x}" for field in fields).encode()
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
