"""``vrouter-port-control``: its exit codes, whatever is missing or does not answer."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from smartvif.cli import port_control
from smartvif.operations.ports.vrouter_port import Timeouts
from smartvif.sim.vrouter.messages import AgentPortType
from tests.support.port_control import (
    NEVER,
    PORT,
    Agent,
    golden,
    listening,
    said,
    short,
    vhost_user,
    words,
)

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
    agent.ports.add(json.dumps({**golden(), "author": "/usr/bin/vrouter-port-control"}))
    assert agent.known == ["tap0"]
    assert [port_control.run(short("delete")) for _ in range(3)] == [0, 0, 0]
    assert agent.nothing_is_left()


def test_taking_over(agent: Agent) -> None:
    """A port that the old script added is ours once it is added again, and then goes wholly."""
    agent.ports.add(json.dumps(golden()))
    agent.file.write_text(json.dumps(golden()))
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
