"""Where the settings come from, and what is said of wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smartvif.choose.allow_list.spec import parse
from smartvif.context import settings
from smartvif.model.errors import Invalid
from smartvif.switches.ovs import OpenVSwitchSettings
from smartvif.switches.vrouter import VRouterSettings

EVERYTHING = """
[openvswitch]
database = "tcp:127.0.0.1:6640"
timeout = 2.5
[vrouter]
agent = "http://127.0.0.1:9092"
ports = "/srv/ports"
timeout = 1
[libvirt]
uri = "qemu:///session"
[forwarder]
engine = "mine"
timeout = 3
database = "unix:/run/fwd/db.sock"
netns = "fwd"
daemon = "/run/fwd"
sockets = "/run/fwd/sockets"
[migration]
remote = "enter {host}"
libvirt = "qemu+tcp://{host}/system"
address = "192.0.2.1"
[pci]
device_spec = ['{"address": "*"}']
policy = "pack"
[placement]
endpoint = "http://192.0.2.1:8778"
host = "compute1"
config = "/etc/placement/placement.conf"
auth_url = "http://192.0.2.1:5000/v3"
username = "neutron"
password = "geheim"
project = "service"
domain = "cloud"
timeout = 5
[state]
directory = "/srv/smartvif"
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default file, which is not there yet; nothing of this machine is looked at."""
    for name in ("SMARTVIF_CONFIG", "SMARTVIF_STATE_DIR", "LIBVIRT_DEFAULT_URI", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(settings, "DEFAULT_FILE", tmp_path / "smartvif.toml")
    return tmp_path / "smartvif.toml"


def test_without_a_file() -> None:
    """Without any file the settings are those of a distribution's host."""
    found = settings.load()
    assert found.switches["ovs"] == OpenVSwitchSettings(
        database="unix:/var/run/openvswitch/db.sock", timeout=10.0
    )
    assert found.libvirt.uri == "qemu:///system"
    assert (found.forwarder.database, found.forwarder.netns) == ("", "")
    assert found.forwarder.sockets == "/run/smartvif/vhostuser"


def test_an_empty_file(file: Path) -> None:
    """A file or a section without keys changes nothing."""
    before = settings.load()
    for text in ("", "# nothing\n", "[openvswitch]\n[state]\n"):
        file.write_text(text)
        assert settings.load() == before


def test_every_key(file: Path) -> None:
    """Each key of the file is taken as it is."""
    file.write_text(EVERYTHING)
    assert settings.load() == settings.Settings(
        switches={
            "ovs": OpenVSwitchSettings(database="tcp:127.0.0.1:6640", timeout=2.5),
            "vrouter": VRouterSettings(
                agent="http://127.0.0.1:9092", ports="/srv/ports", timeout=1
            ),
        },
        libvirt=settings.LibvirtSettings(uri="qemu:///session"),
        forwarder=settings.ForwarderSettings(
            engine="mine",
            timeout=3,
            database="unix:/run/fwd/db.sock",
            netns="fwd",
            daemon="/run/fwd",
            sockets="/run/fwd/sockets",
        ),
        migration=settings.MigrationSettings(
            remote="enter {host}", libvirt="qemu+tcp://{host}/system", address="192.0.2.1"
        ),
        pci=settings.PciSettings(
            device_spec=parse('{"address": "*"}', "[pci] device_spec 1"), policy="pack"
        ),
        placement=settings.PlacementSettings(
            endpoint="http://192.0.2.1:8778",
            host="compute1",
            config="/etc/placement/placement.conf",
            auth_url="http://192.0.2.1:5000/v3",
            username="neutron",
            password="geheim",  # noqa: S106
            project="service",
            domain="cloud",
            timeout=5,
        ),
        state=settings.StateSettings(directory="/srv/smartvif"),
    )


def test_a_file_of_ones_own(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SMARTVIF_CONFIG is read in place of the default file, and empty it is as if not set."""
    file.write_text('[libvirt]\nuri = "default"\n')
    mine = tmp_path / "mine.toml"
    mine.write_text('[libvirt]\nuri = "mine"\n')
    monkeypatch.setenv("SMARTVIF_CONFIG", str(mine))
    assert settings.load().libvirt.uri == "mine"
    monkeypatch.setenv("SMARTVIF_CONFIG", "")
    assert settings.load().libvirt.uri == "default"


def test_a_named_file_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was asked for by name must be there."""
    monkeypatch.setenv("SMARTVIF_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(Invalid, match="No such file") as caught:
        settings.load()
    assert caught.value.where == str(tmp_path / "absent.toml")


@pytest.mark.parametrize("content", [b"[libvirt", b"uri = ", b"[libvirt]\nuri = '\xff'\n", b"\0"])
def test_a_file_that_is_no_toml(file: Path, content: bytes) -> None:
    """What cannot be read as TOML is said, with the file's name."""
    file.write_bytes(content)
    with pytest.raises(Invalid, match="cannot read the configuration") as caught:
        settings.load()
    assert caught.value.where == str(file)


def test_a_default_file_that_cannot_be_read(file: Path) -> None:
    """A file that is there and cannot be read is not passed over."""
    file.mkdir()
    with pytest.raises(Invalid, match="Is a directory"):
        settings.load()
    file.rmdir()
    file.symlink_to(file)
    with pytest.raises(Invalid, match="symbolic links"):
        settings.load()


def test_letters_of_every_language(file: Path) -> None:
    """The file is UTF-8, whatever the locale (toml.io, "Spec")."""
    file.write_bytes('[state]\ndirectory = "/srv/zürich"\n'.encode())
    program = "from smartvif.context import settings; print(ascii(settings.load().state.directory))"
    said = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", program],
        env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "SMARTVIF_CONFIG": str(file)},
        check=True,
        capture_output=True,
    )
    assert said.stdout == b"'/srv/z\\xfcrich'\n"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("[ovs]\n", "unknown section: 'ovs'", "openvswitch"),
        ("timeout = 5\n", "unknown section: 'timeout'", "openvswitch"),
        ("[openvswitch]\ntime_out = 5\n", "unknown key in [openvswitch]: 'time_out'", "timeout"),
        ("[forwarder]\naddress = 'x'\n", "unknown key in [forwarder]: 'address'", "database"),
        ("[state.directory]\nx = 1\n", "directory in [state] must be a string", ""),
        ("openvswitch = 5\n", "'openvswitch' must be a section", "[openvswitch]"),
        ("[[openvswitch]]\n", "'openvswitch' must be a section", "[openvswitch]"),
    ],
)
def test_unknown_names(file: Path, text: str, what: str, hint: str) -> None:
    """A misspelt name is refused, with those that are known."""
    file.write_text(text)
    with pytest.raises(Invalid) as caught:
        settings.load()
    assert caught.value.what == what
    assert caught.value.where == str(file)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[openvswitch]\ntimeout = '5'\n", "timeout in [openvswitch] must be a number"),
        ("[openvswitch]\ntimeout = true\n", "timeout in [openvswitch] must be a number"),
        ("[openvswitch]\ntimeout = [5]\n", "timeout in [openvswitch] must be a number"),
        ("[openvswitch]\ndatabase = 5\n", "database in [openvswitch] must be a string"),
        ("[libvirt]\nuri = false\n", "uri in [libvirt] must be a string"),
        ("[forwarder]\nsockets = ['/run']\n", "sockets in [forwarder] must be a string"),
        ("[state]\ndirectory = 1979-05-27\n", "directory in [state] must be a string"),
    ],
)
def test_values_of_other_types(file: Path, text: str, what: str) -> None:
    """A value of another type is refused, and is not taken for the one it looks like."""
    file.write_text(text)
    with pytest.raises(Invalid) as caught:
        settings.load()
    assert caught.value.what == what
    assert caught.value.where == str(file)


@pytest.mark.parametrize("sockets", ["relative", "", "/run/a\\u0000b", "/" + "d" * 65])
def test_directories_that_can_have_no_sockets(file: Path, sockets: str) -> None:
    """A directory in which no port's socket can be is refused before any port is attached."""
    file.write_text(f'[forwarder]\nsockets = "{sockets}"\n')
    with pytest.raises(Invalid, match=r"sockets in \[forwarder\] cannot have") as caught:
        settings.load()
    assert caught.value.where == str(file)


def test_the_longest_directory_of_sockets(file: Path) -> None:
    """With a port's identifier the path has 107 bytes."""
    file.write_text(f'[forwarder]\nsockets = "/{"d" * 64}"\n')
    assert settings.load().forwarder.sockets == "/" + "d" * 64


@pytest.mark.parametrize("timeout", ["5", "5.0", "0.001", "3600"])
def test_times(file: Path, timeout: str) -> None:
    """A time may be written with a point or without."""
    file.write_text(f"[openvswitch]\ntimeout = {timeout}\n")
    assert settings.load().switches["ovs"] == OpenVSwitchSettings(timeout=float(timeout))


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "-inf", "1e300", "3601"])
def test_times_that_nobody_can_wait(file: Path, timeout: str) -> None:
    """A time that no wait can have is refused here, and not by Python in the middle of a plug."""
    file.write_text(f"[openvswitch]\ntimeout = {timeout}\n")
    with pytest.raises(Invalid, match=r"timeout in \[openvswitch\]") as caught:
        settings.load()
    assert "3600" in caught.value.hint


def test_libvirts_own_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIBVIRT_DEFAULT_URI is what virsh takes; the file goes first; empty it is as if not set."""
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu:///session")
    assert settings.load().libvirt.uri == "qemu:///session"
    file.write_text('[libvirt]\nuri = "test:///default"\n')
    assert settings.load().libvirt.uri == "test:///default"
    file.unlink()
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "")
    assert settings.load().libvirt.uri == "qemu:///system"


def test_where_the_state_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SMARTVIF_STATE_DIR goes before the file, and the file before the default."""
    file.write_text('[state]\ndirectory = "/srv/smartvif"\n')
    assert settings.load().state.directory == "/srv/smartvif"
    monkeypatch.setenv("SMARTVIF_STATE_DIR", "/srv/mine")
    assert settings.load().state.directory == "/srv/mine"
    monkeypatch.setenv("SMARTVIF_STATE_DIR", "")
    assert settings.load().state.directory == "/srv/smartvif"


def test_the_state_of_root_and_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's state is the host's; another user's is in their home, as the XDG variables say."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert settings.load().state.directory == "/var/lib/smartvif"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert settings.load().state.directory == "/home/somebody/.local/state/smartvif"
    monkeypatch.setenv("XDG_STATE_HOME", "/home/somebody/state")
    assert settings.load().state.directory == "/home/somebody/state/smartvif"
