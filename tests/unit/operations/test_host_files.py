"""The hook and the unit: written, shown and removed, and never in the place of another's file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from smartvif.model.errors import Refused
from smartvif.operations.host_files import (
    FileState,
    HostFile,
    host_files,
    install,
    states,
    uninstall,
)
from tests.support.checkout import CHECKOUT
from tests.support.commands import SMARTVIF, document, refused, smartvif

HOOK = "etc/libvirt/hooks/qemu.d/smartvif"
UNIT = "etc/systemd/system/smartvif-ports.service"
WANTED = "etc/systemd/system/multi-user.target.wants/smartvif-ports.service"
ALL = [f"/{path}" for path in (HOOK, UNIT, WANTED)]
PACKAGED = {HOOK: "packaging/libvirt/hooks/qemu.d/smartvif", UNIT: f"packaging/systemd/{UNIT[19:]}"}
ODD = {"SMARTVIF_CONFIG": '/a b/$x\'s "50%".toml'}


def content(root: Path) -> dict[str, str]:
    """Each file below a root, with what is in it; a link with its target."""
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_all_of_it(tmp_path: Path) -> None:
    """Installed, shown and removed by the command; each is idempotent, and says what it did."""
    root = ("--root", str(tmp_path))
    dry = smartvif("host", "install", "--dry-run", *root)
    assert (dry.code, dry.out.split(), dry.err) == (0, ALL, "")
    assert content(tmp_path) == {}
    missing = document("host", "status", *root, code=1)
    assert missing["schema"] == "smartvif.host-status/1"
    assert missing["files"] == [{"path": path, "state": "missing"} for path in ALL]
    done = smartvif("host", "install", *root)
    assert (done.code, done.out.split()) == (0, ALL)
    assert "daemon-reload" in done.err
    assert "restart libvirtd" in done.err
    assert set(content(tmp_path)) == {HOOK, UNIT, WANTED}
    assert os.access(tmp_path / HOOK, os.X_OK)
    assert {each["state"] for each in document("host", "status", *root)["files"]} == {"installed"}
    again = smartvif("host", "install", *root)
    assert (again.code, again.out, again.err) == (0, "", "")
    gone = smartvif("host", "uninstall", *root)
    assert (gone.code, sorted(gone.out.split())) == (0, sorted(ALL))
    assert content(tmp_path) == {}
    assert smartvif("host", "uninstall", *root).out == ""


@pytest.mark.parametrize("path", [HOOK, UNIT, WANTED])
def test_the_file_of_another(tmp_path: Path, path: str) -> None:
    """It is refused, nothing is written, and it stays when ours are removed."""
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("#!/bin/sh\n")
    root = ("--root", str(tmp_path))
    answer = smartvif("host", "install", *root)
    refused(answer, 4, "not installed")
    assert f"/{path}" in answer.err
    assert f"/{path} " in smartvif("host", "status", *root).out
    assert smartvif("host", "uninstall", *root).code == 0
    assert content(tmp_path) == {path: "#!/bin/sh\n"}


def test_a_masked_unit(tmp_path: Path) -> None:
    """A unit that is masked stays so."""
    (tmp_path / UNIT).parent.mkdir(parents=True)
    (tmp_path / UNIT).symlink_to("/dev/null")
    with pytest.raises(Refused):
        install(host_files(SMARTVIF, {}), tmp_path)


@pytest.mark.parametrize("path", [HOOK, UNIT])
def test_what_an_earlier_version_installed(tmp_path: Path, path: str) -> None:
    """It is outdated, and is written again."""
    files = host_files(SMARTVIF, {})
    install(files, tmp_path)
    whole = (tmp_path / path).read_text()
    (tmp_path / path).write_text(whole + "# old\n")
    assert states(files, tmp_path)[f"/{path}"] is FileState.OUTDATED
    assert install(files, tmp_path, dry_run=True) == install(files, tmp_path) == [f"/{path}"]
    assert (tmp_path / path).read_text() == whole


def test_a_hook_that_cannot_be_run(tmp_path: Path) -> None:
    """libvirt ignores one that is not executable, so that it is as good as outdated."""
    files = host_files(SMARTVIF, {})
    install(files, tmp_path)
    (tmp_path / HOOK).chmod(0o644)
    assert states(files, tmp_path)[f"/{HOOK}"] is FileState.OUTDATED
    install(files, tmp_path)
    assert os.access(tmp_path / HOOK, os.X_OK)


def test_removing_outdated_files(tmp_path: Path) -> None:
    """Those of another version are ours too."""
    install(host_files(Path("/opt/old/smartvif"), {}), tmp_path)
    uninstall(host_files(SMARTVIF, {}), tmp_path)
    assert content(tmp_path) == {}


@pytest.mark.parametrize("path", PACKAGED)
def test_packages_have_the_same_files(path: str) -> None:
    """What is in packaging/ is what is installed where smartvif is /usr/bin/smartvif."""
    made = {str(each.path): each for each in host_files(Path("/usr/bin/smartvif"), {})}
    packaged, file = CHECKOUT / PACKAGED[path], made[f"/{path}"]
    assert isinstance(file, HostFile)
    assert packaged.read_text() == file.text
    assert os.access(packaged, os.X_OK) == (file.mode == 0o755)


def hook(root: Path, *words: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run the hook with a command in place of smartvif."""
    stand_in = root / "smart vif"
    stand_in.write_text(f"#!/bin/sh\n{command}\n")
    stand_in.chmod(0o755)
    install(host_files(stand_in, ODD), root)
    return subprocess.run(
        [root / HOOK, *words], input="<domain/>", capture_output=True, text=True, check=False
    )


def test_the_hook_passes_everything_on(tmp_path: Path) -> None:
    """Arguments, input, configuration and exit code; the place of smartvif may have spaces."""
    command = 'echo "$# $1 $2 $3 $4 $5|$SMARTVIF_CONFIG|$(cat)"; echo wrong >&2; exit 3'
    done = hook(tmp_path, "my vm", "prepare", "begin", "-", command=command)
    config = ODD["SMARTVIF_CONFIG"]
    assert done.stdout == f"5 libvirt-hook my vm prepare begin -|{config}|<domain/>\n"
    assert (done.returncode, done.stderr) == (3, "wrong\n")


@pytest.mark.parametrize(
    "operation", ["start", "started", "stopped", "release", "migrate", "restore", "reconnect"]
)
def test_the_hook_does_nothing_else(tmp_path: Path, operation: str) -> None:
    """For other operations smartvif is not even started, and nothing is printed."""
    done = hook(tmp_path, "vm1", operation, "begin", "-", command="echo started; exit 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("code", [124, 137])
def test_the_hook_ends(tmp_path: Path, code: int) -> None:
    """What timeout(1) makes of a command that does not end is an error that names the machine."""
    done = hook(tmp_path, "vm1", "prepare", "begin", "-", command=f"exit {code}")
    assert (done.returncode, done.stdout) == (code, "")
    assert "error: machine vm1: its ports were not made within 60 s" in done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("environment", [{}, ODD], ids=["usual", "odd"])
def test_systemd_takes_the_unit(tmp_path: Path, environment: dict[str, str]) -> None:
    """systemd-analyze has nothing to say of it, also where a variable has to be quoted."""
    install(host_files(SMARTVIF, environment), tmp_path)
    unit = tmp_path / UNIT
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_refuses_a_unit_without_its_command(tmp_path: Path) -> None:
    """So the test above can fail."""
    install(host_files(Path("/none/smartvif"), {}), tmp_path)
    words = ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT)]
    assert subprocess.run(words, capture_output=True, check=False).returncode != 0
