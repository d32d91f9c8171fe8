"""``vrouter-port-control``: its options and exit codes, and what it tells the agent.

The agent is the simulated vRouter's port API, on a free port of the loopback.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from smartvif.cli import port_control
from smartvif.operations.ports.vrouter_port import Timeouts
from smartvif.plug.journal import Journal
from smartvif.sim.vrouter import api
from smartvif.sim.vrouter.api import AgentServer, Faults
from smartvif.sim.vrouter.messages import AgentPortType
from smartvif.sim.vrouter.ports import Ports

PORT = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
VM = "11111111-1111-4111-8111-111111111111"
NETWORK = "22222222-2222-4222-8222-222222222222"
PROJECT = "33333333-3333-4333-8333-333333333333"
NIL = "00000000-0000-0000-0000-000000000000"
MAC = "52:54:00:12:34:56"
CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/reference/port-control.md"
NEVER = Timeouts(agent=0.0, datapath=0.0, socket=0.0)
HEAVY = {"rich", "pyroute2", "libvirt", "os_vif", "oslo_config", "requests", "nova"}

# What Nova's plugin says of a port, in its order (OpenSDN-io/tf-nova-vif-driver).
ADD = {
    "oper": "add",
    "uuid": PORT,
    "instance_uuid": VM,
    "vn_uuid": NETWORK,
    "vm_project_uuid": PROJECT.replace("-", ""),
    "ip_address": "10.0.0.5",
    "ipv6_address": "None",
    "vm_name": "vm-1",
    "mac": MAC,
    "tap_name": "tap0d9a1b2c-3e",
    "port_type": "NovaVMPort",
    "tx_vlan_id": "-1",
    "rx_vlan_id": "-1",
}

# The keys of a port file as the original script writes it, and their JSON types.
KEYS = {
    **dict.fromkeys(("id", "instance-id", "ip-address", "ip6-address", "vn-id"), str),
    **dict.fromkeys(("display-name", "vm-project-id", "mac-address", "system-name"), str),
    **dict.fromkeys(("type", "rx-vlan-id", "tx-vlan-id", "vhostuser-mode"), int),
    **dict.fromkeys(("author", "time"), str),
}


def words(**changed: str | None) -> list[str]:
    """The arguments of ``add`` but for those given; None leaves one away."""
    asked = {**ADD, **changed}
    return [f"--{name}={value}" for name, value in asked.items() if value is not None]


def short(oper: str, *more: str) -> list[str]:
    """The arguments of another act."""
    return [f"--oper={oper}", f"--uuid={PORT}", *more]


class Recorded(Ports):
    """Ports that keep what was posted."""

    posted: list[dict[str, Any]]

    def add(self, body: str) -> None:
        self.posted.append(json.loads(body))
        super().add(body)


@dataclass(kw_only=True)
class Agent:
    """An agent that can be down, and the journal's and the files' places."""

    root: Path
    faults: Faults
    ports: Recorded
    server: AgentServer

    @property
    def file(self) -> Path:
        return self.root / "ports" / PORT

    @property
    def known(self) -> list[str]:
        return [each.port.system_name for each in self.ports.subscriptions()]

    def journalled(self) -> list[str]:
        """What the journal has; it is not made by looking."""
        if not (self.root / "state").exists():
            return []
        journal = Journal(self.root / "state")
        try:
            return [record.id for record in journal.ports()]
        finally:
            journal.close()

    def nothing_is_left(self) -> bool:
        files = os.listdir(self.root / "ports")
        return files == [] and self.known == [] and self.journalled() == []


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An agent at work, to which the configuration points; nothing of this machine is used."""
    ports = Recorded(tmp_path / "ports")
    ports.posted = []
    faults = Faults()
    server = api.serve(ports, port=0, faults=faults)
    server.start()
    config = tmp_path / "smartvif.toml"
    config.write_text(
        f'[vrouter]\nagent = "http://127.0.0.1:{server.port}"\nports = "{tmp_path}/ports"\n'
        "timeout = 0.5\n"
    )
    monkeypatch.setenv("SMARTVIF_CONFIG", str(config))
    monkeypatch.setenv("SMARTVIF_STATE_DIR", str(tmp_path / "state"))
    yield Agent(root=tmp_path, faults=faults, ports=ports, server=server)
    server.stop()


def listening(path: Path) -> socket.socket:
    """A Unix socket at ``path``."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


def vhost_user(agent: Agent, mode: str = "0") -> list[str]:
    """The arguments of a port of the DPDK vRouter."""
    return words(vif_type="VhostUser", vhostuser_socket=f"{agent.root}/uvh", vhostuser_mode=mode)


def said(capfd: pytest.CaptureFixture[str]) -> str:
    """What is on stderr; nothing is on stdout."""
    out, err = capfd.readouterr()
    assert out == ""
    return err


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


# --- usage


BAD = [
    ([], "Missing option"),
    (["--uuid", PORT], "Missing option '--oper'"),
    (["--oper=add"], "Missing option '--uuid'"),
    (words(oper="remove"), "'remove' is not one of"),
    (words(uuid="port-1"), "--uuid: 'port-1' is not a UUID"),
    (["--oper=delete", "--uuid=../../etc/passwd"], "--uuid: .* is not a UUID"),
    (["--oper=enable", "--uuid="], "--uuid: '' is not a UUID"),
    (words(instance_uuid=None), "--instance_uuid: it is missing"),
    (words(instance_uuid="None"), "--instance_uuid: 'None' is not a UUID"),
    (words(vn_uuid=""), "--vn_uuid: it is missing"),
    (words(mac=None), "--mac: it is missing"),
    (words(mac="525400123456"), "--mac: .* is not a MAC"),
    (words(mac="00:00:00:00:00:00"), "all zero"),
    (words(tap_name=None), "--tap_name: it is missing"),
    (words(tap_name="tap 0"), "--tap_name: 'tap 0' is not a network"),
    (words(tap_name="sixteen-letters-"), "--tap_name"),
    (words(ip_address="10.0.0.256"), "--ip_address: '10.0.0.256' is not an IPv4"),
    (words(ip_address="fd00::1"), "not an IPv4"),
    (words(ipv6_address="10.0.0.1"), "--ipv6_address: '10.0.0.1' is not an IPv6"),
    (words(rx_vlan_id="ten"), "'ten' is not a valid integer"),
    (words(tx_vlan_id="-2"), "not in the range"),
    (words(port_type="VM"), "'VM' is not one of"),
    (words(vif_type="vrouter"), "'vrouter' is not one of"),
    (words(vhostuser_mode="server"), "'server' is not one of"),
    (words(agent_port="http"), "'http' is not a valid integer"),
    (words(vnic_type="macvtap"), "'macvtap' is not one of"),
    (words(vnic_type="direct"), "--pci_dev: it is missing"),
    (words(vnic_type="direct", pci_dev="04:00.1"), "--pci_dev: '04:00.1' is not a PCI"),
    (words(pci_dev="0000:04:00.0"), "--pci_dev: VNIC type normal takes no VF"),
    (words(vnic_type="direct", pci_dev="0000:04:00.0", vif_type="VhostUser"), "--vif_type"),
    ([*words(), "--verbose"], "No such option"),
    ([*words(), "more"], "unexpected extra argument"),
    ([*words(vm_name=None), "--vm=x"], "No such option"),
    ([*words(vm_name=None), "--vm_nam=x"], "No such option"),
    ([*words(oper=None), "--op=add"], "No such option"),
    ([" ".join(words())], "all options came as one argument"),
    ([" ".join(f'"{word}"' for word in words())], "all options came as one argument"),
]


@pytest.mark.parametrize(("arguments", "what"), BAD)
def test_usage(
    agent: Agent, arguments: list[str], what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What can never be right gives 2 and one error, and nothing has happened."""
    assert port_control.run(arguments) == 2
    error = said(capfd)
    assert error.startswith("error: ")
    assert re.search(what, error)
    assert agent.ports.posted == []
    assert not (agent.root / "state").exists()
    assert agent.nothing_is_left()


def test_joined_arguments_have_a_hint(capfd: pytest.CaptureFixture[str]) -> None:
    """Who calls it as old Novas did learns what to do."""
    assert port_control.run(["--oper=delete --uuid=x"]) == 2
    assert "\n hint: each must be an argument of its own" in said(capfd)


def test_deleting_needs_no_good_values(agent: Agent) -> None:
    """What only ``add`` reads is not looked at by ``delete``: a port can always be taken away."""
    assert port_control.run(words()) == 0
    more = ["--mac=?", "--pci_dev=?", "--vnic_type=direct", "--tap_name=", "--vhostuser_mode=1"]
    assert port_control.run([*short("delete"), *more]) == 0
    assert agent.nothing_is_left()


# --- exit codes of add


def test_no_socket_path(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """A vhost-user port without a socket: 1, and nobody was asked."""
    assert port_control.run(words(vif_type="VhostUser"), waits=NEVER) == 1
    assert "--vhostuser_socket" in said(capfd)
    assert agent.ports.posted == []
    forwarder = words(vnic_type="virtio-forwarder", pci_dev="0000:04:00.0")
    assert port_control.run(forwarder, waits=NEVER) == 1


def test_files_that_cannot_be_written(
    agent: Agent, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A directory that is none: 1, and the agent has no port that it would forget."""
    (tmp_path / "file").touch()
    assert port_control.run(words(port_json_path=str(tmp_path / "file" / "ports"))) == 1
    assert "cannot write the port's file" in said(capfd)
    assert agent.nothing_is_left()


def test_no_such_vf(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """What the script cannot know of: 1, with our words."""
    assert port_control.run(words(vnic_type="direct", pci_dev="ffff:ff:1f.7")) == 1
    assert "there is no such PCI device" in said(capfd)
    assert agent.nothing_is_left()


def test_no_forwarder(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """A port behind a forwarder, of which there is none: 1, before anything is done."""
    forwarder = words(
        vnic_type="virtio-forwarder", pci_dev="ffff:ff:1f.7", vhostuser_socket="/run/uvh"
    )
    assert port_control.run(forwarder) == 1
    assert "no forwarder is configured" in said(capfd)


def test_no_agent_for_vhost_user(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody listens for as long as is waited: 2."""
    agent.server.stop()
    assert port_control.run(vhost_user(agent), waits=NEVER) == 2
    assert "no vRouter agent within 0 s" in said(capfd)
    assert agent.nothing_is_left()


def test_no_datapath(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """The DPDK vRouter's socket does not come, or is none: 3."""
    netlink = agent.root / "netlink"
    waits = Timeouts(datapath=0.0, datapath_socket=netlink)
    assert port_control.run(vhost_user(agent), waits=waits) == 3
    netlink.touch()
    assert port_control.run(vhost_user(agent), waits=waits) == 3
    assert f"{netlink} within 0 s" in said(capfd)
    assert agent.ports.posted == []
    assert agent.nothing_is_left()


def test_the_agent_refuses(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """A refusal: 4 with the agent's words, and nothing is left."""
    assert port_control.run(words(rx_vlan_id="10", tx_vlan_id="65534")) == 4
    assert "RX (isolated) vlan set, but TX vlan not set" in said(capfd)
    assert agent.nothing_is_left()


@pytest.mark.parametrize(
    "answer",
    [
        (500, '{"error":"{ no }"}'),
        (200, '{"error":"{ no }"}'),
        (200, "<html>a proxy</html>"),
        (200, "[]"),
        (404, '{"error":"Unknown Request"}'),
    ],
)
def test_answers_that_are_none(agent: Agent, answer: tuple[int, str]) -> None:
    """Any answer but the one of success, be its status what it may: 4, and no file is left."""
    agent.faults.answer = answer
    assert port_control.run(words()) == 4
    assert not agent.file.exists()


def test_no_answer(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """An agent that takes the request and says nothing: 4."""
    agent.faults.drop = True
    assert port_control.run(words()) == 4
    assert "did not answer" in said(capfd)
    assert not agent.file.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        words(vnic_type="direct", pci_dev="ffff:ff:1f.7"),
        words(no_persist="1"),
    ],
)
def test_no_agent_where_one_is_needed(agent: Agent, arguments: list[str]) -> None:
    """Nobody listens, and no file could tell it later what has to be done: 5."""
    agent.server.stop()
    assert port_control.run(arguments) == 5
    assert agent.nothing_is_left()


def test_the_agent_ends_meanwhile(agent: Agent) -> None:
    """A vhost-user port whose agent was there and is not when it is told: 5."""
    agent.server.stop()
    with socket.create_server(("127.0.0.1", agent.server.port)) as dying:

        def end() -> None:
            dying.accept()[0].close()
            dying.close()
            listening(agent.root / "netlink").close()

        thread = threading.Thread(target=end)
        thread.start()
        waits = Timeouts(datapath_socket=agent.root / "netlink")
        assert port_control.run(vhost_user(agent), waits=waits) == 5
        thread.join()
    assert agent.nothing_is_left()


def test_no_socket(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """The vRouter is to make the socket and does not: 6, and the agent has no such port."""
    with listening(agent.root / "netlink"):
        waits = Timeouts(socket=0.0, datapath_socket=agent.root / "netlink")
        assert port_control.run(vhost_user(agent), waits=waits) == 6
        assert "did not make the socket" in said(capfd)
        assert len(agent.ports.posted) == 1
        assert agent.nothing_is_left()
        assert port_control.run(vhost_user(agent, "1"), waits=waits) == 0


def test_a_tap_waits_in_its_file(agent: Agent) -> None:
    """A tap's port with the agent down: 0, and the file says it; twice too, and then deleted."""
    agent.server.stop()
    for _ in range(2):
        assert port_control.run(words()) == 0
        assert json.loads(agent.file.read_text())["system-name"] == "tap0d9a1b2c-3e"
    assert port_control.run(short("delete")) == 0
    assert agent.nothing_is_left()


# --- delete, enable, disable


def test_delete_of_what_is_not_ours(agent: Agent) -> None:
    """A port that the old script added, which the journal does not know, goes all the same."""
    agent.ports.add(json.dumps({**_golden(), "author": "/usr/bin/vrouter-port-control"}))
    assert agent.known == ["tap0"]
    assert [port_control.run(short("delete")) for _ in range(3)] == [0, 0, 0]
    assert agent.nothing_is_left()


def test_taking_over(agent: Agent) -> None:
    """A port that the old script added is ours once it is added again, and then goes wholly."""
    agent.ports.add(json.dumps(_golden()))
    agent.file.write_text(json.dumps(_golden()))
    assert port_control.run(words(tap_name="tap0")) == 0
    assert agent.known == ["tap0"]
    assert agent.journalled() == [PORT]
    assert json.loads(agent.file.read_text())["author"] == "smartvif"
    assert port_control.run(short("delete")) == 0
    assert agent.nothing_is_left()


def test_delete_fails(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """The agent does not delete: 1, and it can be tried again; a silent one as well."""
    for known in (False, True):
        if known:
            assert port_control.run(words()) == 0
        agent.faults.answer = (500, '{"error":"{ busy }"}')
        assert port_control.run(short("delete")) == 1
        assert "busy" in said(capfd)
        agent.faults.answer = None
        agent.faults.drop = True
        assert port_control.run(short("delete")) == 1
        agent.faults.drop = False
        assert port_control.run(short("delete")) == 0
        assert agent.nothing_is_left()


def test_link_of_an_esxi_port(agent: Agent) -> None:
    """Enabled and disabled, in the agent and in the file, whether the agent runs or not."""
    assert port_control.run(words(port_type="ESXiPort")) == 0
    for oper, up in (("enable", 1), ("enable", 1), ("disable", 0), ("disable", 0)):
        assert port_control.run(short(oper)) == 0
        (subscription,) = agent.ports.subscriptions()
        assert subscription.port.type is AgentPortType.REMOTE
        assert subscription.port.link_state == up
    agent.server.stop()
    before = json.loads(agent.file.read_text())
    before.pop("link-state", None)
    assert port_control.run(short("enable")) == 0
    assert json.loads(agent.file.read_text()) == {**before, "link-state": 1}
    assert port_control.run(short("disable")) == 0
    assert json.loads(agent.file.read_text()) == before


def test_link_of_another_port(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """A port that is not there, or no ESXi port: 1 where an agent runs; its file stays as it is."""
    assert port_control.run(short("enable")) == 1
    assert "Port Not found" in said(capfd)
    assert port_control.run(words()) == 0
    before = agent.file.read_bytes()
    assert [port_control.run(short(oper)) for oper in ("enable", "disable")] == [1, 1]
    assert "Incorrect Port type" in said(capfd)
    agent.server.stop()
    assert [port_control.run(short(oper)) for oper in ("enable", "disable")] == [0, 0]
    assert agent.file.read_bytes() == before


# --- the command as a process


def process(
    arguments: list[bytes], program: str = "from smartvif.cli.port_control import main; main()"
) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize("arguments", [["--help"], words(), short("delete"), short("disable")])
def test_it_is_quick_to_start(agent: Agent, arguments: list[str]) -> None:
    """Nothing that takes long is imported, and libvirt is not, whatever is asked."""
    program = (
        "import sys\n"
        "from smartvif.cli.port_control import main\n"
        "try:\n    main()\n"
        "finally:\n    sys.stderr.write(' '.join(sys.modules))"
    )
    done = process([os.fsencode(word) for word in arguments], program)
    loaded = {name.split(".")[0] for name in done.stderr.decode().split()}
    assert "click" in loaded
    assert loaded & HEAVY == set()
    if arguments == ["--help"]:
        assert (done.returncode, "sqlite3" in loaded) == (0, False)
        assert b"--vm_project_uuid" in done.stdout


def test_the_entry_point() -> None:
    """The command is installed by its own name."""
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["vrouter-port-control"].split(":")
    assert getattr(importlib.import_module(module), function) is port_control.main


def test_the_reference() -> None:
    """Its page names every option and every exit code, and no option that there is not."""
    text = PAGE.read_text()
    options = {
        name
        for parameter in port_control.port_control.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }
    named = set(re.findall(r"^`(--\w+)", text, re.MULTILINE))
    assert named == options
    codes = re.findall(r"^\| ([0-9]+) \|", text, re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "4", "5", "6"]


def _golden() -> dict[str, object]:
    """A port as the original script posts it."""
    return {
        "id": PORT,
        "instance-id": VM,
        "ip-address": "10.0.0.5",
        "ip6-address": "None",
        "vn-id": NETWORK,
        "display-name": "vm-1",
        "vm-project-id": PROJECT,
        "mac-address": MAC,
        "system-name": "tap0",
        "type": 0,
        "rx-vlan-id": -1,
        "tx-vlan-id": -1,
        "vhostuser-mode": 0,
        "time": "2026-01-01 00:00:00.000000",
    }
