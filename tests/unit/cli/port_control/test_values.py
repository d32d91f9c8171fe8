"""``vrouter-port-control``: what it tells the agent, value by value."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from smartvif.cli import port_control
from smartvif.operations.ports.vrouter_port import Timeouts
from tests.support.port_control import (
    KEYS,
    MAC,
    NETWORK,
    NIL,
    PORT,
    PROJECT,
    VM,
    Agent,
    listening,
    process,
    said,
    short,
    vhost_user,
    words,
)

# --- what the agent is told


def test_the_file_and_the_request(agent: Agent) -> None:
    """A port as Nova asks for it: the file has the script's keys and types."""
    assert port_control.run(words()) == 0
    file = json.loads(agent.file.read_text())
    assert {key: type(value) for key, value in file.items()} == KEYS
    (posted,) = agent.ports.posted
    assert posted == {
        "id": PORT,
        "instance-id": VM,
        "ip-address": "10.0.0.5",
        "ip6-address": "::",
        "vn-id": NETWORK,
        "display-name": "vm-1",
        "vm-project-id": PROJECT,
        "mac-address": MAC,
        "system-name": "tap0d9a1b2c-3e",
        "type": 0,
        "rx-vlan-id": -1,
        "tx-vlan-id": -1,
        "vhostuser-mode": 0,
    }
    assert posted.items() <= file.items()


@pytest.mark.parametrize(
    ("option", "text", "key", "value"),
    [
        ("vm_project_uuid", PROJECT, "vm-project-id", PROJECT),
        ("vm_project_uuid", "default", "vm-project-id", NIL),
        ("vm_project_uuid", "", "vm-project-id", NIL),
        ("vm_project_uuid", None, "vm-project-id", NIL),
        ("ip_address", "0.0.0.0", "ip-address", "0.0.0.0"),  # noqa: S104
        ("ip_address", "None", "ip-address", "0.0.0.0"),  # noqa: S104
        ("ip_address", None, "ip-address", "0.0.0.0"),  # noqa: S104
        ("ipv6_address", "FD00::0:5", "ip6-address", "fd00::5"),
        ("ipv6_address", "::", "ip6-address", "::"),
        ("vm_name", "", "display-name", ""),
        ("vm_name", None, "display-name", ""),
        ("uuid", PORT.upper(), "id", PORT),
        ("mac", MAC.upper(), "mac-address", MAC),
        ("mac", "FE:00:00:00:00:0A", "mac-address", "fe:00:00:00:00:0a"),
        ("port_type", "NameSpacePort", "type", 1),
        ("port_type", "ESXiPort", "type", 2),
        ("port_type", None, "type", 0),
        ("rx_vlan_id", "100", "rx-vlan-id", 100),
        ("tx_vlan_id", "200", "tx-vlan-id", 200),
        ("tx_vlan_id", None, "tx-vlan-id", -1),
        ("rx_vlan_id", None, "rx-vlan-id", -1),
        ("vif_type", "Vrouter", "vhostuser-mode", 0),
    ],
)
def test_values(agent: Agent, option: str, text: str | None, key: str, value: object) -> None:
    """Each spelling that the script takes reaches the agent as one value, and changes no other."""
    assert port_control.run(words(**{option: text})) == 0
    (posted,) = agent.ports.posted
    assert posted[key] == value
    assert port_control.run(short("delete")) == 0
    assert port_control.run(words()) == 0
    usual = agent.ports.posted[-1]
    assert {name for name in usual if usual[name] != posted[name]} <= {key}


def test_other_types_need_no_network(agent: Agent) -> None:
    """Only a Nova port must have one; a port of ESXi may be named after its identifier."""
    esxi = words(port_type="ESXiPort", vn_uuid=None, tap_name=PORT)
    assert port_control.run(esxi) == 0
    (posted,) = agent.ports.posted
    assert (posted["vn-id"], posted["system-name"]) == (NIL, PORT)


@pytest.mark.parametrize(("mode", "number"), [("0", 0), ("1", 1)])
def test_vhost_user_modes(agent: Agent, mode: str, number: int) -> None:
    """The mode is QEMU's role, and the socket's path is not sent."""
    with listening(agent.root / "netlink"), listening(agent.root / "uvh"):
        waits = Timeouts(datapath_socket=agent.root / "netlink")
        assert port_control.run(vhost_user(agent, mode), waits=waits) == 0
    (posted,) = agent.ports.posted
    assert posted["vhostuser-mode"] == number
    assert "uvh" not in json.dumps(posted)


@pytest.mark.parametrize("text", ["1", "False", "no"])
def test_no_persist(agent: Agent, text: str) -> None:
    """Any text keeps the file from being ours; the empty one does not."""
    assert port_control.run(words(no_persist=text)) == 0
    # The file is the agent's own: it writes one where there is none.
    assert json.loads(agent.file.read_text())["author"] != "smartvif"
    assert port_control.run(words(no_persist="")) == 0
    assert json.loads(agent.file.read_text())["author"] == "smartvif"


def test_places(agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's port and the files' directory can be others than the configured ones."""
    monkeypatch.setenv("SMARTVIF_CONFIG", os.devnull)
    there = [f"--agent_port={agent.server.port}", f"--port_json_path={tmp_path}/other/"]
    assert port_control.run([*words(), *there]) == 0
    assert agent.known == ["tap0d9a1b2c-3e"]
    assert (tmp_path / "other" / PORT).is_file()
    assert port_control.run([*short("delete"), *there]) == 0
    assert agent.known == []
    assert not (tmp_path / "other" / PORT).exists()


def test_twice_and_changed(agent: Agent) -> None:
    """Added again a port is the same; added with another value it has that one."""
    assert [port_control.run(words()) for _ in range(2)] == [0, 0]
    assert port_control.run(words(mac="52:54:00:00:00:99")) == 0
    (subscription,) = agent.ports.subscriptions()
    assert subscription.port.mac_address == "52:54:00:00:00:99"
    assert json.loads(agent.file.read_text())["mac-address"] == "52:54:00:00:00:99"


# --- nothing of a value becomes an option

NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
) | st.sampled_from(
    [
        "x --tap_name=evil0",
        'x" --tap_name="evil0',
        "x' --tap_name='evil0",
        "--tap_name=evil0",
        "--",
        "-",
        "--vm_name",
        "a\n--tap_name=evil0\n",
        "$(reboot); `reboot` %s {0} \\",
        "\N{PILE OF POO} ü 日本",
        "x" * 4096,
        "=",
    ]
)


@given(name=NAMES, apart=st.booleans())
@hypothesis_settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_name_is_a_name(agent: Agent, name: str, apart: bool) -> None:
    """Whatever a machine is called, the agent hears that and no other field differs."""
    option = ["--vm_name", name] if apart else [f"--vm_name={name}"]
    assert port_control.run([*words(vm_name=None), *option]) == 0
    posted = agent.ports.posted[-1]
    assert posted["display-name"] == name
    file = json.loads(agent.file.read_text())
    assert file["display-name"] == name
    for document in (posted, file):
        assert document["system-name"] == "tap0d9a1b2c-3e"
        assert (document["id"], document["mac-address"]) == (PORT, MAC)
    assert os.listdir(agent.root / "ports") == [PORT]


@pytest.mark.parametrize(
    ("name", "heard"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        (b"\xff --tap_name=evil0", "\N{REPLACEMENT CHARACTER} --tap_name=evil0"),
        (b"\xed\xa0\x80", "\N{REPLACEMENT CHARACTER}" * 3),
    ],
)
def test_bytes_of_a_name(agent: Agent, name: bytes, heard: str) -> None:
    """A name that is not UTF-8 has replacement characters, because JSON cannot say its bytes."""
    arguments = [os.fsencode(word) for word in words(vm_name=None)]
    done = process([*arguments, b"--vm_name=" + name])
    assert (done.returncode, done.stderr) == (0, b"")
    (posted,) = agent.ports.posted
    assert posted["display-name"] == heard
    assert posted["system-name"] == "tap0d9a1b2c-3e"


@pytest.mark.parametrize("option", ["tap_name", "vhostuser_socket"])
def test_bytes_of_a_device(agent: Agent, option: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A tap or a socket that is not UTF-8 is refused: another name would be another device."""
    assert port_control.run(words(**{option: os.fsdecode(b"tap\xe9")})) == 2
    assert f"--{option}: it has bytes" in said(capfd)
    assert agent.ports.posted == []
