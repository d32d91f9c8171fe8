"""The guests' image: a distribution's kernel and a busybox that runs commands for us.

It is built once for each version of what goes in and kept in the user's cache. Building may need
the network, so ``ensure`` is called before the simulated host's namespaces are entered.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smartvif.model.errors import Failed
from smartvif.sim.guest import cpio, kernel, vmlinux

# What a shell says of a command that SIGKILL ended, as the agent does at the time limit.
KILLED = 137
READY = "SMARTVIF-GUEST-READY"
# pci=nomsi: Debian 12's QEMU 7.2 under TCG crashes when a guest's driver starts a vhost-user
# device with MSI-X (in vhost_net_start); without MSI the guest never gets there.
CMDLINE = "console=ttyS0 quiet net.ifnames=0 panic=1 pci=nomsi"

# Both are there from the boot on, so that the kernel binds a NIC the moment it is plugged in.
_MODULES = ("virtio_pci", "virtio_net")
_LAYOUT = b"not compressed"  # another image than of the versions that had other files
_BUSYBOX = Path("/bin/busybox")
_PT_INTERP = 3  # include/uapi/linux/elf.h

# The agent's half of console.Console. A request is one line: an id, a limit in seconds and the
# command in base64. The reply is a line "@id exit-code length" and then that many bytes. timeout
# kills only the shell; what the shell had started goes with its process group.
# The agent is not the first process, which gets a SIGCHLD for every orphan: one that comes while
# busybox's shell reads or writes loses it what was read or written.
_INIT = f"""\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done
ip link set lo up

agent() {{
    while read -r id limit command; do
        echo "echo \\$\\$ >/tmp/$id.group" >"/tmp/$id"
        echo "$command" | base64 -d >>"/tmp/$id"
        timeout -s KILL "$limit" setsid sh "/tmp/$id" </dev/null >"/tmp/$id.out" 2>&1 3>&-
        code=$?
        [ $code -ne {KILLED} ] || kill -KILL -"$(cat "/tmp/$id.group")" 2>/dev/null
        printf '\\n@%s %s %s\\n' "$id" "$code" "$(wc -c <"/tmp/$id.out")"
        cat "/tmp/$id.out"
        rm -f "/tmp/$id" "/tmp/$id.out" "/tmp/$id.group"
    done
}}

exec 3<>/dev/ttyS1
stty raw -echo <&3
(while :; do agent; done) <&3 >&3 &
echo {READY}
while :; do sleep 1000; done
""".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """What QEMU boots a guest from."""

    kernel: Path
    initrd: Path


def ensure() -> GuestImage:
    """The image from the cache, built there first if need be; progress goes to stderr.

    The cache is ``$XDG_CACHE_HOME/smartvif/guest`` (~/.cache by default). A build takes seconds
    and, where no kernel is installed, downloads one: about 70 MB; the image has about as many.

    Raises: Failed.
    """
    if platform.machine() != "x86_64":
        raise Failed(
            f"guests are x86_64 only, and this is {platform.machine()}",
            where="guest image",
            hint="run it on an x86_64 machine: the guests boot its own linux-image package",
        )
    busybox = _static_busybox()
    shelf = _cache_home() / "smartvif" / "guest"
    place = shelf / _key(busybox)
    try:
        if not place.is_dir():
            shelf.mkdir(parents=True, exist_ok=True)
            with _only_builder(shelf):
                if not place.is_dir():
                    _build(place, busybox)
    except OSError as error:
        hint = "another place can be given in XDG_CACHE_HOME"
        raise Failed(f"cannot build it: {error}", where="guest image", hint=hint) from error
    return GuestImage(kernel=place / "kernel", initrd=place / "initrd")


def initrd(busybox: bytes, modules: dict[str, bytes]) -> bytes:
    """The initramfs: our init, busybox, and the modules in the order of loading.

    Not compressed, as the kernel is not: an emulated processor is slow at that.
    """
    directories = ("bin", "dev", "modules", "proc", "sys", "tmp")
    entries = [cpio.directory(name) for name in directories]
    entries.append(cpio.character_device("dev/console", 5, 1))
    entries.append(cpio.program("init", _INIT))
    entries.append(cpio.program("bin/busybox", busybox))
    for number, (name, data) in enumerate(modules.items()):
        # init loads them in the order of their names.
        entries.append(cpio.program(f"modules/{number:02}-{name}.ko", data))
    return cpio.archive(entries)


def is_static(program: bytes) -> bool:
    """Whether a 64-bit ELF program runs without a dynamic linker (elf(5), PT_INTERP)."""
    offset, size, count = struct.unpack_from("<Q14xHH", program, 32)
    headers = range(offset, offset + size * count, size)
    return all(struct.unpack_from("<I", program, header)[0] != _PT_INTERP for header in headers)


def _static_busybox() -> bytes:
    program = _BUSYBOX.read_bytes() if _BUSYBOX.exists() else None
    if program is None or not is_static(program):
        reason = "needs libraries the guest has not" if program else "is not there"
        hint = "apt-get install busybox-static"
        raise Failed(f"{_BUSYBOX} {reason}", where="guest image", hint=hint)
    return program


def _cache_home() -> Path:
    """As the XDG base directory specification says, which has a relative path ignored."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"


def _key(busybox: bytes) -> str:
    """Names all that goes in but the kernel: any will do, and a newer one is no reason to build."""
    digest = hashlib.sha256(_LAYOUT + _INIT)
    digest.update(" ".join(_MODULES).encode())
    digest.update(busybox)
    return digest.hexdigest()[:16]


@contextmanager
def _only_builder(shelf: Path) -> Iterator[None]:
    """Wait for another builder; then any build directory there is was left by a killed one."""
    with (shelf / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in shelf.glob("building-*"):
            shutil.rmtree(stale)
        yield


def _build(place: Path, busybox: bytes) -> None:
    building = Path(tempfile.mkdtemp(prefix="building-", dir=place.parent))
    try:
        unpacked, result = building / "unpacked", building / "result"
        unpacked.mkdir()
        result.mkdir()
        found = kernel.find(Path("/")) or kernel.download(unpacked)
        print(f"guest image: building from {found.vmlinuz.name}", file=sys.stderr)
        (result / "kernel").write_bytes(vmlinux.unpacked(found.vmlinuz.read_bytes()))
        modules = kernel.modules(found.modules, _MODULES)
        (result / "initrd").write_bytes(initrd(busybox, modules))
        result.rename(place)
    finally:
        shutil.rmtree(building)
