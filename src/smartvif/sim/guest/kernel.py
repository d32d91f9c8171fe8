"""A distribution's kernel and a few of its modules, for a guest to boot."""

from __future__ import annotations

import lzma
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smartvif.model.errors import Failed

# Debian's meta package, then Ubuntu's; each depends on the newest kernel of its kind.
_META_PACKAGES = ("linux-image-amd64", "linux-image-virtual", "linux-image-generic")
# Ubuntu ships a kernel's modules apart from the kernel.
_MODULES_PACKAGE = "linux-modules-"
_MODULE_FILE = re.compile(r"(?P<name>.+)\.ko(?:\.xz|\.zst)?")
# .modinfo is a list of NUL-terminated "key=value" (Linux, include/linux/moduleparam.h).
_DEPENDS = re.compile(rb"\0depends=([\w,-]*)\0")
_HINT = "apt-get install linux-image-amd64 (on Ubuntu: linux-image-virtual)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel image that we can read and the directory of its modules."""

    vmlinuz: Path
    modules: Path


def find(root: Path) -> Kernel | None:
    """A kernel below ``root`` that can be read and has its modules, the last by name."""
    for vmlinuz in sorted(root.glob("boot/vmlinuz-*"), reverse=True):
        release = vmlinuz.name.removeprefix("vmlinuz-")
        for library in ("lib/modules", "usr/lib/modules"):
            modules = root / library / release / "kernel"
            # Ubuntu lets only root read the kernel image.
            if os.access(vmlinuz, os.R_OK) and modules.is_dir():
                return Kernel(vmlinuz=vmlinuz, modules=modules)
    return None


def download(directory: Path) -> Kernel:
    """The newest packaged kernel, unpacked in ``directory``; nothing is installed.

    Raises: Failed.
    """
    for package in _packages():
        print(f"guest image: downloading {package}", file=sys.stderr)
        _run(["apt-get", "download", package], cwd=directory)
    for archive in directory.glob("*.deb"):
        _run(["dpkg", "-x", archive.name, "."], cwd=directory)
        archive.unlink()
    kernel = find(directory)
    if kernel is None:
        raise Failed("the kernel package has no kernel in it", where="guest image", hint=_HINT)
    return kernel


def modules(directory: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """The modules ``wanted`` and all they depend on, in an order in which they can be loaded.

    A name without a file below ``directory`` is left out: that kernel has it built in.

    Raises: Failed, where a module is compressed and cannot be unpacked.
    """
    files = {}
    for path in directory.rglob("*.ko*"):
        if match := _MODULE_FILE.fullmatch(path.name):
            files[_module_name(match["name"])] = path
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in files and name not in ordered:
            data = _unpacked(files[name])
            for dependency in depends(data):
                add(dependency)
            ordered[name] = data

    for name in wanted:
        add(_module_name(name))
    return ordered


def depends(module: bytes) -> tuple[str, ...]:
    """The modules that an (uncompressed) module says it needs in its .modinfo section."""
    match = _DEPENDS.search(module)
    names = match[1].decode().split(",") if match else []
    return tuple(_module_name(name) for name in names if name)


def _module_name(name: str) -> str:
    """The kernel takes '-' and '_' for the same (modprobe(8))."""
    return name.replace("-", "_")


def _unpacked(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return unzstd(path.read_bytes())
    return path.read_bytes()


def unzstd(data: bytes) -> bytes:
    """What zstd compressed.

    Raises: Failed, also where there is no zstd.
    """
    return _run(["zstd", "-dc"], data=data)


def _packages() -> list[str]:
    """The kernel package to fetch and those with its modules."""
    for meta in _META_PACKAGES:
        for image in _dependencies(meta):
            if re.match(r"linux-image-\d", image):
                extra = [name for name in _dependencies(image) if name.startswith(_MODULES_PACKAGE)]
                return [image, *extra]
    raise Failed(
        "no package with a kernel is known here",
        where="guest image",
        hint=f"refresh the package lists with apt-get update, or {_HINT}",
    )


def _dependencies(package: str) -> list[str]:
    try:
        listing = _run(["apt-cache", "depends", package]).decode()
    except Failed:  # apt-cache fails for a package of another distribution
        return []
    return re.findall(r"^\W*Depends: (\S+)$", listing, re.MULTILINE)


def _run(command: list[str], *, cwd: Path | None = None, data: bytes | None = None) -> bytes:
    try:
        return subprocess.run(command, cwd=cwd, input=data, check=True, capture_output=True).stdout
    except FileNotFoundError as error:
        hint = f"apt-get install {command[0].split('-')[0]}, or {_HINT}"
        raise Failed(f"no {command[0]} here", where="guest image", hint=hint) from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        what = f"'{' '.join(command)}' failed: {''.join(words)}"
        raise Failed(what, where="guest image", hint=_HINT) from error
