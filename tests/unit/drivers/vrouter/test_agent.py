"""The client of the vRouter's agent, against the simulated agent and against servers that err."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartvif.drivers.vrouter.agent import VRouterAgent, wait_for_socket
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.drivers.vrouter.port import VhostUserMode, VRouterPort
from smartvif.model.errors import CannotTell, Failed, Invalid, TimedOut
from smartvif.sim.vrouter.api import AgentServer, Faults, serve
from smartvif.sim.vrouter.ports import Ports

ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
PORT = VRouterPort(
    id=ID,
    machine="9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01",
    network="7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5",
    name="web 1",
    mac="fa:16:3e:12:34:56",
    netdev="tap0d9a1b2c-3e",
    project="11111111-2222-4333-8444-555555555555",
    ip="10.0.0.5",
)


@pytest.fixture
def files(tmp_path: Path) -> PortFiles:
    return PortFiles(tmp_path / "ports")


@pytest.fixture(params=[False, True], ids=["strict", "upstream"])
def ports(request: pytest.FixtureRequest, files: PortFiles) -> Ports:
    """The agent's own view; it and the client have the directory in common, as on a host."""
    return Ports(files.directory, upstream=request.param)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def server(ports: Ports, faults: Faults) -> Iterator[AgentServer]:
    running = serve(ports, port=0, faults=faults)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def agent(server: AgentServer, files: PortFiles) -> VRouterAgent:
    return client(server.port, files)


def client(port: int, files: PortFiles, timeout: float = 5.0) -> VRouterAgent:
    return VRouterAgent(f"http://127.0.0.1:{port}", files, timeout=timeout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@contextmanager
def serving(act: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that does ``act`` with each connection, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        act(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_the_document() -> None:
    """What the agent is told: exactly its keys, each with the type that it wants."""
    assert PORT.document() == {
        "id": ID,
        "instance-id": "9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01",
        "display-name": "web 1",
        "ip-address": "10.0.0.5",
        "ip6-address": "::",
        "vn-id": "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5",
        "vm-project-id": "11111111-2222-4333-8444-555555555555",
        "mac-address": "fa:16:3e:12:34:56",
        "system-name": "tap0d9a1b2c-3e",
        "type": 0,
        "rx-vlan-id": -1,
        "tx-vlan-id": -1,
        "vhostuser-mode": 0,
    }
    bare = replace(PORT, project=None, ip=None, vhostuser_mode=VhostUserMode.SERVER).document()
    assert bare["vm-project-id"] == "00000000-0000-0000-0000-000000000000"
    assert (bare["ip-address"], bare["vhostuser-mode"]) == ("0.0.0.0", 1)  # noqa: S104


def test_added_and_removed(agent: VRouterAgent, ports: Ports, files: PortFiles) -> None:
    """A port is with the agent and in its file, once however often it is added; and then gone."""
    for _ in range(3):
        agent.add(PORT)
        assert [port.system_name for port in known(ports)] == ["tap0d9a1b2c-3e"]
    shown = agent.port(ID)
    assert shown is not None
    assert PORT.is_meant_by(shown)
    assert os.listdir(files.directory) == [ID]
    for _ in range(3):
        agent.remove(ID)
        assert known(ports) == []
        assert agent.port(ID) is None
        assert os.listdir(files.directory) == []


def known(ports: Ports) -> list[Any]:
    found = ports.get(ID)
    return [] if found is None else [found]


@pytest.mark.parametrize(
    "change",
    [{"netdev": "p0r1"}, {"mac": "fa:16:3e:00:00:01"}, {"network": str(uuid.UUID(int=7))}],
    ids=["netdev", "mac", "network"],
)
def test_a_changed_port(agent: VRouterAgent, ports: Ports, change: dict[str, Any]) -> None:
    """The agent has the new values, though it ignores those of a port that it knows already."""
    agent.add(PORT)
    changed = replace(PORT, **change)
    agent.add(changed)
    shown = agent.port(ID)
    assert shown is not None
    assert changed.is_meant_by(shown)
    assert not PORT.is_meant_by(shown)


def test_changed_details(agent: VRouterAgent, server: AgentServer, files: PortFiles) -> None:
    """A port with another name for people, as another program gave it, is not interrupted."""
    agent.add(replace(PORT, name="old", project=None))
    seen = requests_of(server, lambda: agent.add(PORT))
    assert seen == ["POST"]
    document = files.read(ID)
    assert document is not None
    assert PORT.is_said_by(document)
    assert requests_of(server, lambda: agent.add(replace(PORT, netdev="p0r1"))) == [
        "DELETE",
        "POST",
    ]


def requests_of(server: AgentServer, act: Callable[[], None]) -> list[str]:
    """The methods of the requests that ``act`` makes."""
    seen = []
    answered = server._http.api.respond

    def respond(method: str, path: str, body: str) -> tuple[int, str]:
        seen.append(method)
        return answered(method, path, body)

    with mock.patch.object(server._http.api, "respond", respond):
        act()
    return seen


def test_a_changed_port_after_a_restart(
    agent: VRouterAgent, ports: Ports, files: PortFiles
) -> None:
    """The file has the new values too, though the agent never rewrites one."""
    agent.add(PORT)
    agent.add(replace(PORT, netdev="p0r1"))
    again = Ports(files.directory, upstream=ports.upstream)
    again.reload(lambda netdev: True)
    found = again.get(ID)
    assert found is not None
    assert found.system_name == "p0r1"


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"id": 1}', "\udcff"])
def test_a_broken_file(agent: VRouterAgent, ports: Ports, files: PortFiles, text: str) -> None:
    """A file that is empty, cut short or of something else is replaced by a whole one."""
    files.directory.mkdir(exist_ok=True)
    (files.directory / ID).write_bytes(text.encode(errors="surrogateescape"))
    agent.add(PORT)
    document = files.read(ID)
    assert document is not None
    assert PORT.is_said_by(document)


def test_a_file_that_the_agent_wrote(agent: VRouterAgent, files: PortFiles, ports: Ports) -> None:
    """The agent's own form of the same port is not taken for another port."""
    agent.add(PORT, persist=False)
    document = files.read(ID)
    assert document is not None
    assert document["author"] != "smartvif"
    assert document["rx-vlan-id"] == 65535
    assert PORT.is_said_by(document)
    assert not replace(PORT, rx_vlan=5).is_said_by(document)


def test_unfinished_files_are_no_ports(files: PortFiles) -> None:
    """What a power cut leaves of a file being written has no name that the agent reads."""
    files.write(PORT)
    (files.directory / f".{ID}.unfinished").write_text("{")
    again = Ports(files.directory)
    again.reload(lambda netdev: True)
    assert again.get(ID) is not None
    assert files.netdevs() == {PORT.netdev: ID}


def test_netdevs_of_a_strange_directory(files: PortFiles) -> None:
    """Directories and files of other kinds are passed over; so is a directory that is not there."""
    assert files.netdevs() == {}
    (files.directory / "vm" / "x").mkdir(parents=True)
    (files.directory / "note.txt").write_text("x")
    (files.directory / str(uuid.UUID(int=1))).mkdir()
    (files.directory / str(uuid.UUID(int=2))).write_text("")
    files.write(PORT)
    assert files.netdevs() == {PORT.netdev: ID}


def test_no_way_out_of_the_directory(files: PortFiles) -> None:
    """A port's name is a UUID and nothing that could be a path."""
    for act in (files.read, files.remove):
        with pytest.raises(Invalid, match="not a UUID"):
            act("../../etc/passwd")
    with pytest.raises(Invalid, match="not a UUID"):
        files.write(replace(PORT, id="../evil"))


@pytest.mark.parametrize("deferrable", [True, False])
def test_no_agent(files: PortFiles, deferrable: bool) -> None:
    """Where no agent runs a port waits in its file if it may wait, and is an error if not."""
    agent = client(free_port(), files)
    if deferrable:
        agent.add(PORT, deferrable=True)
        again = Ports(files.directory)
        again.reload(lambda netdev: True)
        assert again.get(ID) is not None
    else:
        with pytest.raises(CannotTell, match="no vRouter agent runs") as caught:
            agent.add(PORT)
        assert caught.value.hint
    with pytest.raises(CannotTell, match="no vRouter agent runs"):
        agent.add(PORT, persist=False, deferrable=True)
    agent.remove(ID)
    assert os.listdir(files.directory) == []
    with pytest.raises(CannotTell):
        agent.port(ID)
    with pytest.raises(CannotTell):
        agent.check_alive()
    assert not agent.simulated()


def test_a_slow_agent(server: AgentServer, faults: Faults, files: PortFiles) -> None:
    """An agent that does not answer is an error within the deadline, which is one for the call."""
    faults.drop = True
    agent = client(server.port, files, timeout=0.3)
    with pytest.raises(TimedOut, match=r"within 0\.3 s") as caught:
        agent.add(PORT, deferrable=True)
    assert caught.value.hint
    with pytest.raises(TimedOut, match=r"within 0\.3 s"):
        agent.port(ID)
    with pytest.raises(TimedOut):
        agent.remove(ID)


def test_an_agent_that_drips(files: PortFiles) -> None:
    """A byte now and then does not put the deadline off."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not ended.wait(0.05):
            connection.sendall(b"H")

    with serving(drip) as port:
        agent = client(port, files, timeout=0.5)
        with pytest.raises(TimedOut):
            agent.port(ID)
        ended.set()


@pytest.mark.parametrize(
    "answer",
    [
        (200, '{"error": "{ Invalid VN uuid }"}'),
        (200, "[]"),
        (200, "not JSON"),
        (500, '{"error": "{ Invalid VN uuid }"}'),
        (500, "{ Invalid VN uuid }"),
        (404, '{"error": "Unknown Request"}'),
    ],
)
def test_an_agent_that_refuses(
    agent: VRouterAgent, faults: Faults, answer: tuple[int, str]
) -> None:
    """A refusal is an error with the agent's words, even with status 200."""
    faults.answer = answer
    with pytest.raises(Failed, match="refused the port") as caught:
        agent.add(PORT, deferrable=True)
    words = json.loads(answer[1])["error"] if answer[1].startswith('{"') else answer[1]
    assert words in str(caught.value)
    assert agent.url in str(caught.value)


def test_an_agent_that_does_not_delete(agent: VRouterAgent, faults: Faults) -> None:
    """A DELETE that fails is an error, to be tried again; that there is no port is none."""
    faults.answer = (500, '{"error": "no"}')
    with pytest.raises(Failed, match="did not delete"):
        agent.remove(ID)
    faults.answer = (404, '{"error": "{ Not Found }"}')
    agent.remove(ID)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
def test_answers_that_are_no_http(noise: bytes) -> None:
    """Whatever comes instead of an answer is an error of ours, and soon."""
    with serving(lambda connection: connection.sendall(noise)) as port:
        agent = client(port, PortFiles(Path("/nowhere")), timeout=5.0)
        with pytest.raises(Failed):
            agent.port(ID)


def test_it_says_that_it_is_simulated(agent: VRouterAgent) -> None:
    """The simulated agent is told from a real one, which says nothing."""
    assert agent.simulated()
    agent.check_alive()
    with serving(lambda c: c.sendall(b"HTTP/1.1 404 OK\r\nContent-Length: 2\r\n\r\n{}")) as port:
        other = client(port, agent.files)
        assert not other.simulated()
        other.check_alive()


@pytest.mark.parametrize(
    "url", ["", "nonsense", "http://", "http://h", "https://h:1", "http://h:x"]
)
def test_a_malformed_address(files: PortFiles, url: str) -> None:
    """An address that can never be right is refused at once, with one that can."""
    with pytest.raises(Invalid, match="is not an address") as caught:
        VRouterAgent(url, files)
    assert "http://127.0.0.1:9091" in caught.value.hint


def test_a_directory_that_cannot_be_written(agent: VRouterAgent, files: PortFiles) -> None:
    """Without a file there is no port: the vRouter would forget it when it restarts."""
    files.directory.rmdir()
    files.directory.write_text("in the way")
    with pytest.raises(Failed, match="cannot write the port's file") as caught:
        agent.add(PORT, deferrable=True)
    assert "forget the port" in caught.value.hint


def test_a_full_disk(
    files: PortFiles, monkeypatch: pytest.MonkeyPatch, agent: VRouterAgent
) -> None:
    """Where there is no room the old file stays whole, and nothing of the new one is left."""
    files.write(PORT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failed, match="No space left on device"):
        files.write(replace(PORT, netdev="p0r1"))
    assert os.listdir(files.directory) == [ID]
    document = files.read(ID)
    assert document is not None
    assert PORT.is_said_by(document)


def test_waiting_for_a_socket(tmp_path: Path) -> None:
    """A socket counts, and nothing else of that name; it is not waited for for ever."""
    path = tmp_path / "uvh"
    path.write_text("")
    with pytest.raises(TimedOut, match="did not make the socket"):
        wait_for_socket(path, 0.05)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        wait_for_socket(path, 0.05)


def test_waiting_for_an_agent(files: PortFiles, server: AgentServer) -> None:
    """A start is waited for, and not for ever."""
    client(server.port, files).wait_until_up(5.0)
    with pytest.raises(TimedOut, match="no vRouter agent within"):
        client(free_port(), files).wait_until_up(0.1)
