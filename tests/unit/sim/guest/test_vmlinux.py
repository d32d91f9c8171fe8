"""The kernel inside a compressed kernel image."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess

import pytest

from smartvif.sim.guest import vmlinux

NOTE = struct.pack("<III4s", 4, 8, 18, b"Xen\0")
KERNEL = b"\x7fELF" + b"code" * 100 + NOTE + b"more"
SECTORS, OFFSET = 2, 20


def bzimage(payload: bytes) -> bytes:
    """A kernel image around what is compressed."""
    header = bytearray((SECTORS + 1) * 512)
    header[0x1F1] = SECTORS
    struct.pack_into("<II", header, 0x248, OFFSET, len(payload))
    return bytes(header) + bytes(OFFSET) + payload + b"behind it"


def compressed(kernel: bytes, kind: str) -> bytes:
    """As the kernel's build does it: with the size behind, but for gzip."""
    if kind == "gzip":
        return gzip.compress(kernel)
    size = struct.pack("<I", len(kernel))
    if kind == "xz":
        return lzma.compress(kernel, check=lzma.CHECK_CRC32) + size
    command = ["zstd", "-qc"]
    return subprocess.run(command, input=kernel, stdout=-1, check=True).stdout + size


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_unpacked(kind: str) -> None:
    """The kernel, whatever it is compressed by."""
    assert vmlinux.unpacked(bzimage(compressed(KERNEL, kind))) == KERNEL


@pytest.mark.parametrize(
    "image",
    [
        b"kernel",
        KERNEL,
        bzimage(b"\x02\x21\x4c\x18 lz4"),
        bzimage(compressed(KERNEL, "xz")[:-40]),
        bzimage(compressed(KERNEL, "gzip")[:-40]),
        bzimage(b"\x28\xb5\x2f\xfd and no more"),
        bzimage(compressed(KERNEL.replace(NOTE, b""), "gzip")),
        bzimage(compressed(b"MZ" + KERNEL, "gzip")),
    ],
    ids=["short", "ELF", "lz4", "cut xz", "cut gzip", "cut zstd", "no PVH", "no ELF"],
)
def test_what_qemu_could_not_boot(image: bytes) -> None:
    """The image stays as it is: QEMU boots that, only slower."""
    assert vmlinux.unpacked(image) == image
