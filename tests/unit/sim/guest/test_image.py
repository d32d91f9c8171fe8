"""The guests' image and the parts it is made of."""

import lzma
import platform
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smartvif.model.errors import Failed
from smartvif.sim.guest import cpio, image, kernel


def elf(*segments: int) -> bytes:
    """A 64-bit ELF program with program headers of these types and nothing else."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF", 2, 62, 1, 0, 64, 0, 0, 64, 56, 0, 0, 0, 0)
    header = header[:56] + struct.pack("<H", len(segments)) + header[58:]
    return header + b"".join(struct.pack("<I52x", kind) for kind in segments)


def module(*dependencies: str) -> bytes:
    """As much of a module as has its .modinfo."""
    names = ",".join(dependencies)
    return f"\x7fELF...license=GPL\0depends={names}\0retpoline=Y\0name=x\0".encode()


def kernel_tree(root: Path) -> Path:
    """A root with a kernel, virtio built in but for the NIC's driver."""
    modules = root / "lib/modules/6.1/kernel/drivers/net"
    modules.mkdir(parents=True)
    (modules / "virtio_net.ko").write_bytes(module("net_failover", "virtio"))
    (modules / "net_failover.ko.xz").write_bytes(lzma.compress(module()))
    (root / "boot").mkdir()
    (root / "boot/vmlinuz-6.1").write_bytes(b"kernel")
    return root


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a static busybox and an installed kernel."""
    busybox = tmp_path / "busybox"
    busybox.write_bytes(elf(1, 2))
    tree = kernel_tree(tmp_path / "root")
    find = kernel.find
    monkeypatch.setattr(image, "_BUSYBOX", busybox)
    monkeypatch.setattr(kernel, "find", lambda _: find(tree))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/smartvif/guest"


@pytest.mark.skipif(not shutil.which("cpio"), reason="needs cpio")
def test_cpio_reads_it(tmp_path: Path) -> None:
    """cpio(1) unpacks what went in, whatever the lengths of names and data."""
    files = {f"d/{'n' * length}": b"x" * length for length in range(1, 9)}
    entries = [cpio.directory("d"), cpio.character_device("c", 5, 1)]
    entries += [cpio.program(name, data) for name, data in files.items()]
    archive = cpio.archive(entries)
    listing = subprocess.run(["cpio", "-itv"], input=archive, capture_output=True, check=True)
    assert listing.stdout.splitlines()[1].split()[:1] == [b"crw-------"]
    assert b"5,   1" in listing.stdout
    command = ["cpio", "-id", "d", "d/*"]
    subprocess.run(command, input=archive, cwd=tmp_path, capture_output=True, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    assert (tmp_path / "d/n").stat().st_mode & 0o777 == 0o755


def test_cpio_format() -> None:
    """A member is a header of 110 bytes and its name, then its data, each padded to 4 bytes."""
    archive = cpio.archive([cpio.program("ab", b"data!")])
    assert archive[:6] == b"070701"
    assert archive[14:22] == b"000081ed"
    assert archive[54:62] == b"00000005"
    assert archive[110:130] == b"ab\0\0\0\0data!\0\0\x00070701"
    assert archive[234:] == b"TRAILER!!!\0\0\0\0"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (module("virtio_ring", "net-failover"), ("virtio_ring", "net_failover")),
        (module("one"), ("one",)),
        (module(), ()),
        (b"\x7fELF no modinfo at all", ()),
        (b"\0softdepends=a\0", ()),
    ],
)
def test_depends(data: bytes, names: tuple[str, ...]) -> None:
    """A module's dependencies come from its .modinfo, with '-' and '_' for the same."""
    assert kernel.depends(data) == names


def test_modules_in_order(tmp_path: Path) -> None:
    """A module comes after all it depends on, once, and what has no file is built in."""
    needs = {"a": ("b", "c"), "b": ("d-1", "gone"), "c": ("d_1", "b"), "d-1": (), "e": ()}
    for name, dependencies in needs.items():
        (tmp_path / f"{name}.ko").write_bytes(module(*dependencies))
    found = kernel.modules(tmp_path, ["built_in", "a", "c"])
    assert list(found) == ["d_1", "b", "c", "a"]
    assert found["b"] == module("d-1", "gone")


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst"])
def test_compressed_modules(suffix: str, tmp_path: Path) -> None:
    """A module is read whether or not the distribution compresses it."""
    path = tmp_path / f"a.ko{suffix}"
    if suffix == ".zst":
        if not shutil.which("zstd"):
            pytest.skip("needs zstd")
        command = ["zstd", "-q", "-o", str(path)]
        subprocess.run(command, input=module("x"), check=True)
    else:
        path.write_bytes(lzma.compress(module("x")) if suffix else module("x"))
    assert kernel.modules(tmp_path, ["a"]) == {"a": module("x")}


def test_kernel_without_modules(tmp_path: Path) -> None:
    """A kernel image without its modules is passed over."""
    tree = kernel_tree(tmp_path)
    (tree / "boot/vmlinuz-6.9").write_bytes(b"newer")
    found = kernel.find(tree)
    assert found is not None
    assert found.vmlinuz.name == "vmlinuz-6.1"
    assert kernel.find(tmp_path / "nowhere") is None


def test_is_static() -> None:
    """A program is static when no program header names a dynamic linker."""
    assert image.is_static(elf(1, 2, 7))
    assert not image.is_static(elf(6, 3, 1))
    assert not image.is_static(Path(sys.executable).read_bytes())


def test_initrd() -> None:
    """The same parts give the same bytes, and modules are numbered in the order of loading."""
    parts = {"b": b"1", "a": b"2"}
    packed = image.initrd(b"busybox", parts)
    assert packed == image.initrd(b"busybox", parts)
    assert packed.index(b"modules/00-b.ko") < packed.index(b"modules/01-a.ko")


def test_ensure(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The image is built once, says so, and leaves nothing else but its lock."""
    first = image.ensure()
    assert first.kernel.read_bytes() == b"kernel"
    archive = first.initrd.read_bytes()
    assert b"modules/00-net_failover.ko" in archive
    assert b"modules/01-virtio_net.ko" in archive
    assert "building" in capsys.readouterr().err
    assert image.ensure() == first
    assert capsys.readouterr().err == ""
    assert {path.name for path in shelf.iterdir()} == {"lock", first.kernel.parent.name}


def test_ensure_sweeps(shelf: Path) -> None:
    """What a killed build left is swept by the next one."""
    (shelf / "building-x/unpacked/lib").mkdir(parents=True)
    image.ensure()
    assert not (shelf / "building-x").exists()


def test_ensure_at_once(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several at once one builds, and the others wait for it and take that image."""
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: image.ensure(), range(4)))
    assert len(set(images)) == 1
    assert capsys.readouterr().err.count("building") == 1
    assert images[0].initrd.is_file()


def test_new_busybox_new_image(shelf: Path) -> None:
    """Another busybox makes another image and leaves the old one to those who boot from it."""
    first = image.ensure()
    image._BUSYBOX.write_bytes(elf(1, 2, 7))
    assert image.ensure() != first
    assert first.initrd.exists()


def test_failed_build(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that fails leaves nothing, and the next call tries again."""

    def broken(*_: object) -> dict[str, bytes]:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kernel, "modules", broken)
        with pytest.raises(Failed, match="No space left") as failure:
            image.ensure()
    assert "XDG_CACHE_HOME" in failure.value.hint
    assert [path.name for path in shelf.iterdir()] == ["lock"]
    assert image.ensure().initrd.exists()


@pytest.mark.parametrize("program", [None, elf(3)])
def test_no_busybox(shelf: Path, program: bytes | None) -> None:
    """Without a static busybox the error names the package that has it."""
    image._BUSYBOX.unlink()
    if program is not None:
        image._BUSYBOX.write_bytes(program)
    with pytest.raises(Failed) as failure:
        image.ensure()
    assert "busybox-static" in failure.value.hint


def test_other_machine(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another architecture the error says which it must be."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(Failed, match="aarch64"):
        image.ensure()


def fake_apt(directory: Path, script: str) -> Path:
    """A directory whose apt-cache and apt-get are this script."""
    directory.mkdir()
    for name in ("apt-cache", "apt-get"):
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return directory


UBUNTU = """\
case "$*" in
"depends linux-image-virtual")
    printf 'linux-image-virtual\\n  Depends: linux-image-6.8.0-45-generic\\n' ;;
"depends linux-image-6.8.0-45-generic")
    printf 'x\\n |Depends: kmod\\n  Depends: linux-modules-6.8.0-45-generic\\n' ;;
download*) echo "E: Unable to fetch $2" >&2; exit 100 ;;
*) echo "E: No packages found" >&2; exit 100 ;;
esac"""


def test_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Ubuntu the modules' package is fetched besides the kernel's."""
    monkeypatch.setenv("PATH", f"{fake_apt(tmp_path / 'bin', UBUNTU)}:/usr/bin:/bin")
    assert kernel._packages() == ["linux-image-6.8.0-45-generic", "linux-modules-6.8.0-45-generic"]


@pytest.mark.parametrize(
    ("script", "words"),
    [(UBUNTU, "Unable to fetch linux-image-6.8.0-45-generic"), ("exit 100", "no package")],
)
def test_no_kernel(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no kernel can be had the error has apt's words and names Debian's package."""
    monkeypatch.setenv("PATH", f"{fake_apt(tmp_path / 'bin', script)}:/usr/bin:/bin")
    with pytest.raises(Failed, match=words) as failure:
        kernel.download(tmp_path)
    assert "linux-image-amd64" in failure.value.hint


def test_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without apt the error says so and names the package to install by hand."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed) as failure:
        kernel.download(tmp_path)
    assert "linux-image-amd64" in failure.value.hint
