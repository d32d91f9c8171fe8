"""The kernel inside a compressed x86 kernel image.

An emulated processor takes longer to decompress a kernel than to boot it. QEMU boots an ELF kernel
that has a note of the PVH boot protocol, as those of Debian and Ubuntu have.
"""

from __future__ import annotations

import lzma
import struct
import zlib

from smartvif.model.errors import Failed
from smartvif.sim.guest import kernel

_SIZE = 4  # Linux, scripts/Makefile.lib: all but gzip are followed by the size of the kernel
# XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h): sizes of name and value, type, name.
_PVH_NOTES = tuple(struct.pack("<III4s", 4, size, 18, b"Xen\0") for size in (4, 8))


def unpacked(image: bytes) -> bytes:
    """The kernel in a bzImage; the image as it is, where QEMU could not boot what is in it."""
    try:
        found = _decompressed(_payload(image))
    except (Failed, EOFError, lzma.LZMAError, zlib.error, struct.error):
        return image
    boots = found.startswith(b"\x7fELF") and any(note in found for note in _PVH_NOTES)
    return found if boots else image


def _payload(image: bytes) -> bytes:
    """What is compressed: Linux, Documentation/arch/x86/boot.rst."""
    (setup_sectors,) = struct.unpack_from("<B", image, 0x1F1)
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    return image[start : start + length]


def _decompressed(payload: bytes) -> bytes:
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompress(payload, wbits=zlib.MAX_WBITS | 16)
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(payload[:-_SIZE])
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return kernel.unzstd(payload[:-_SIZE])
    return b""
