"""The simulated agent's ports: table, files, and what goes stale, with a clock that tests turn."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smartvif.model.errors import Failed, Invalid, NotFound, SmartvifError
from smartvif.sim.vrouter import messages
from smartvif.sim.vrouter.messages import NIL, AgentPortMessage, AgentPortType
from smartvif.sim.vrouter.ports import Ports

IDS = [f"0f1a2b3c-0000-4000-8000-00000000000{digit}" for digit in range(3)]
MACHINES = [f"aaaaaaaa-0000-4000-8000-00000000000{digit}" for digit in range(2)]
NETWORK = "bbbbbbbb-0000-4000-8000-000000000000"


def posted(port: str = IDS[0], machine: str = MACHINES[0], **changes: Any) -> dict[str, Any]:
    """A port as it is posted; other values are named with ``_`` for ``-``."""
    return {
        "id": port,
        "instance-id": machine,
        "vn-id": NETWORK,
        "vm-project-id": "",
        "display-name": "vm",
        "ip-address": "10.0.0.1",
        "ip6-address": "None",
        "type": 0,
        "system-name": "tap0",
        "mac-address": "52:54:00:00:00:01",
        "rx-vlan-id": -1,
        "tx-vlan-id": -1,
        **{key.replace("_", "-"): value for key, value in changes.items()},
    }


class Heard:
    """A listener that notes what it hears, and knows what there is by it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.there: dict[str, AgentPortMessage] = {}

    def port_added(self, port: AgentPortMessage) -> None:
        assert port.id not in self.there
        self.there[port.id] = port
        self.log.append(f"+{port.system_name}")

    def port_deleted(self, port: AgentPortMessage) -> None:
        assert self.there.pop(port.id) == port
        self.log.append(f"-{port.system_name}")


class Agent:
    """Ports in a directory, with a listener and a clock that can be turned."""

    def __init__(self, directory: Path, *, upstream: bool = False) -> None:
        self.now = 0.0
        self.heard = Heard()
        self.directory = directory
        self.ports = Ports(
            directory, listener=self.heard, upstream=upstream, clock=lambda: self.now
        )

    def post(self, *values: dict[str, Any], array: bool = False) -> None:
        self.ports.add(json.dumps(list(values) if array else values[0]))

    def file(self, port: str = IDS[0]) -> Path:
        return self.directory / port

    def files(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}

    def known(self) -> list[str]:
        return [each.port.id for each in self.ports.subscriptions()]

    def versions(self) -> list[int]:
        return [each.version for each in self.ports.subscriptions()]


@pytest.fixture
def honest(tmp_path: Path) -> Agent:
    """One that tells the truth."""
    return Agent(tmp_path / "ports")


@pytest.fixture
def upstream(tmp_path: Path) -> Agent:
    """One that does as the real one does."""
    return Agent(tmp_path / "ports", upstream=True)


@pytest.fixture(params=[False, True], ids=["honest", "upstream"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Agent:
    """Either."""
    return Agent(tmp_path / "ports", upstream=request.param)


def refusal(act: Callable[[], None], kind: type[SmartvifError]) -> str:
    """The words in which something is refused."""
    with pytest.raises(kind) as caught:
        act()
    return caught.value.what


def test_a_port_comes_and_goes(agent: Agent) -> None:
    """A port added is told, heard of and in a file, and no more of it is left when deleted."""
    agent.post(posted())
    port = messages.port(posted())
    assert agent.ports.get(IDS[0]) == port
    assert messages.ports(agent.file().read_text()) == [port]
    assert agent.files() == {IDS[0]}
    agent.ports.delete(IDS[0])
    assert agent.ports.get(IDS[0]) is None
    assert agent.files() == set()
    assert agent.heard.log == ["+tap0", "-tap0"]


def test_the_same_port_again_is_not_heard_of(agent: Agent) -> None:
    """A port posted as it is changes nothing but its version, and its file not at all."""
    agent.post(posted())
    before = agent.file().read_bytes()
    agent.ports.sync()
    agent.post(posted())
    assert agent.heard.log == ["+tap0"]
    assert agent.file().read_bytes() == before
    assert agent.versions() == [1]


def test_another_machine_replaces_the_port(agent: Agent) -> None:
    """The same identifier for another machine is another port."""
    agent.post(posted())
    agent.post(posted(machine=MACHINES[1], system_name="tap1"))
    assert agent.heard.log == ["+tap0", "-tap0", "+tap1"]
    assert [port.instance_id for port in agent.heard.there.values()] == [MACHINES[1]]


def test_changes_are_made(honest: Agent) -> None:
    """A port posted with another value is that from then on, in its file as well."""
    honest.post(posted())
    honest.post(posted(system_name="tap1", ip_address="10.0.0.2"))
    assert honest.heard.log == ["+tap0", "-tap0", "+tap1"]
    assert messages.ports(honest.file().read_text())[0].ip_address == "10.0.0.2"


def test_upstream_ignores_changes(upstream: Agent) -> None:
    """For the same machine the real agent keeps what it had; it never writes a file again."""
    upstream.post(posted())
    before = upstream.file().read_bytes()
    upstream.post(posted(system_name="tap1"))
    assert upstream.heard.log == ["+tap0"]
    upstream.post(posted(machine=MACHINES[1], system_name="tap2"))
    assert upstream.file().read_bytes() == before


def test_an_empty_file_is_mended(tmp_path: Path) -> None:
    """What an interrupted client left is written anew; the real agent leaves it as it is."""
    for upstream, text in ((False, messages.port(posted()).id), (True, "")):
        agent = Agent(tmp_path / str(upstream), upstream=upstream)
        agent.file().touch()
        agent.post(posted())
        assert text in agent.file().read_text()
        assert bool(agent.file().read_text()) == bool(text)
        assert agent.known() == [IDS[0]]


def test_a_bad_array_adds_nothing(honest: Agent) -> None:
    """One bad element is an error, and none of the others is added."""
    bad = posted(IDS[1], mac_address="")
    words = refusal(lambda: honest.post(posted(), bad, array=True), Invalid)
    assert words == "Invalid MAC, Use xx:xx:xx:xx:xx:xx format"
    assert (honest.known(), honest.files()) == ([], set())


def test_upstream_takes_a_bad_array_in_silence(upstream: Agent) -> None:
    """The real agent adds nothing and says nothing; other bodies are errors there too."""
    upstream.post(posted(), posted(IDS[1], mac_address=""), array=True)
    upstream.ports.add("[7]")
    assert (upstream.known(), upstream.files()) == ([], set())
    for body in ("[", "7", json.dumps(posted(mac_address=""))):
        with pytest.raises(Invalid):
            upstream.ports.add(body)


def test_an_array_adds_all(agent: Agent) -> None:
    """Every port of a good array is added, in order."""
    agent.post(posted(IDS[1]), posted(IDS[0]), array=True)
    assert agent.known() == [IDS[1], IDS[0]]
    assert agent.files() == {IDS[0], IDS[1]}


def test_a_file_that_cannot_be_written(honest: Agent) -> None:
    """Without its file a port is not added, and that is an error."""
    honest.directory.rmdir()
    words = refusal(lambda: honest.post(posted()), Failed)
    assert words == f"Writing of Json string to file failed for {IDS[0]}"
    assert honest.known() == []
    assert honest.heard.log == []


def test_upstream_hides_that_a_file_cannot_be_written(upstream: Agent) -> None:
    """The real agent does not add the port, and says that all is well."""
    upstream.directory.rmdir()
    upstream.post(posted())
    assert upstream.known() == []


def test_a_port_that_is_not_there_cannot_be_deleted(honest: Agent, tmp_path: Path) -> None:
    """That is an error, but none in the real agent."""
    assert refusal(lambda: honest.ports.delete(IDS[0]), NotFound) == "Not Found"
    Agent(tmp_path, upstream=True).ports.delete(IDS[0])


def test_a_file_without_a_port_can_be_deleted(agent: Agent) -> None:
    """A port passed over at the start has only a file: deleting the port deletes that."""
    agent.file().write_text("")
    agent.ports.delete(IDS[0])
    assert agent.files() == set()


def test_a_file_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port whose file cannot be deleted is gone, and only the real agent is content with it."""

    def fail(path: Path) -> None:
        raise PermissionError(path)

    honest, upstream = Agent(tmp_path / "1"), Agent(tmp_path / "2", upstream=True)
    for agent in (honest, upstream):
        agent.post(posted())
    monkeypatch.setattr(Path, "unlink", fail)
    words = refusal(lambda: honest.ports.delete(IDS[0]), Failed)
    assert words == f"Error deleting file {honest.file()}"
    upstream.ports.delete(IDS[0])
    assert honest.known() == upstream.known() == []


def test_only_what_is_configured_is_told(tmp_path: Path) -> None:
    """A port is told once its configuration has come; it is there before."""
    configured: set[str] = set()
    ports = Ports(tmp_path, configured=lambda port: port.id in configured)
    ports.add(json.dumps(posted()))
    assert ports.get(IDS[0]) is None
    assert len(ports.subscriptions()) == 1
    configured.add(IDS[0])
    assert ports.get(IDS[0]) is not None


def test_a_remote_port_is_enabled_and_disabled(agent: Agent) -> None:
    """A remote port's link goes up and down, in its file as well; what is so already is left."""
    agent.post(posted(type=2))
    for enabled in (True, True, False, False):
        agent.ports.set_enabled(IDS[0], enabled=enabled)
        port = agent.ports.get(IDS[0])
        assert port is not None
        assert port.link_state == int(enabled)
        assert messages.ports(agent.file().read_text()) == [port]
    assert agent.heard.log == ["+tap0", "-tap0", "+tap0", "-tap0", "+tap0"]


def test_what_cannot_be_enabled(agent: Agent) -> None:
    """Only a remote port that is there has a link of its own."""
    enable = agent.ports.set_enabled
    words = refusal(lambda: enable(IDS[0], enabled=True), NotFound)
    assert words == f"Port Not found {IDS[0]}"
    agent.post(posted())
    words = refusal(lambda: enable(IDS[0], enabled=False), Invalid)
    assert words == f"Incorrect Port type for {IDS[0]}"


def test_a_link_state_that_cannot_be_written(tmp_path: Path) -> None:
    """Without its file a link stays as it was; the real agent changes it all the same."""
    for upstream in (False, True):
        agent = Agent(tmp_path / str(upstream), upstream=upstream)
        agent.post(posted(type=2))
        shutil.rmtree(agent.directory)
        if upstream:
            agent.ports.set_enabled(IDS[0], enabled=True)
        else:
            with pytest.raises(Failed, match=f"failed on enable for {IDS[0]}"):
                agent.ports.set_enabled(IDS[0], enabled=True)
        assert [each.port.link_state for each in agent.ports.subscriptions()] == [int(upstream)]


def test_ports_survive_a_restart(agent: Agent) -> None:
    """What was added is there again, and heard of, with no version; files stay as they were."""
    agent.ports.sync()
    agent.post(posted(), posted(IDS[1], type=2), array=True)
    before = {path.name: path.read_bytes() for path in agent.directory.iterdir()}
    again = Agent(agent.directory, upstream=agent.ports.upstream)
    assert again.ports.reload(lambda name: name == "tap0") == {}
    assert again.heard.there == agent.heard.there
    assert again.versions() == [0, 0]
    assert {path.name: path.read_bytes() for path in again.directory.iterdir()} == before


def test_what_is_passed_over_at_a_restart(agent: Agent) -> None:
    """A port without its netdev and a bad file are left out and stay; other names are no ports."""
    agent.post(posted(), posted(IDS[1], system_name="tap1"), array=True)
    agent.post(posted(IDS[2], system_name="nowhere", type=2))  # it needs no netdev here
    agent.file(MACHINES[0]).write_text("")
    agent.file("notes").write_text(json.dumps(posted(MACHINES[1])))
    agent.file(NIL).write_text(json.dumps(posted(MACHINES[1])))
    agent.file(MACHINES[1]).mkdir()
    files = agent.files()
    again = Agent(agent.directory, upstream=agent.ports.upstream)
    assert again.ports.reload(lambda name: name == "tap1") == {
        IDS[0]: "Interface does not exist in OS",
        MACHINES[0]: "Invalid Json string ==> ",
    }
    assert sorted(again.known()) == [IDS[1], IDS[2]]
    assert again.files() == files


def test_what_is_not_posted_again_goes_stale(agent: Agent) -> None:
    """Sixty seconds after a synchronisation began, ports not posted again go with their files."""
    kinds = {IDS[0]: 0, IDS[1]: 0, IDS[2]: 1}
    agent.post(*(posted(port, type=kind) for port, kind in kinds.items()), array=True)
    agent.now = 1000.0
    agent.ports.expire()  # nothing is stale without a synchronisation
    assert len(agent.known()) == 3
    agent.ports.sync()
    agent.post(posted(IDS[1]))
    agent.now = 1059.9
    agent.ports.expire()
    assert len(agent.known()) == 3
    agent.now = 1060.0
    agent.ports.expire()
    assert agent.files() == {IDS[1], IDS[2]}  # one was posted, the other is a namespace's
    assert sorted(agent.known()) == [IDS[1], IDS[2]]
    agent.now = 9999.0
    agent.ports.expire()  # once
    assert agent.files() == {IDS[1], IDS[2]}


def test_each_synchronisation_has_its_time(agent: Agent) -> None:
    """A second one does not put off the first, and spares what was posted since the first."""
    agent.post(posted(IDS[0]))
    agent.ports.sync()
    agent.post(posted(IDS[1]))
    agent.now = 30.0
    agent.ports.sync()
    agent.now = 60.0
    agent.ports.expire()
    assert agent.known() == [IDS[1]]
    agent.now = 90.0
    agent.ports.expire()
    assert agent.known() == []


def test_a_stale_file_that_stays(honest: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale port goes though its file cannot, and so do those behind it."""
    honest.post(posted(), posted(IDS[1]), array=True)
    honest.ports.sync()
    honest.now = 60.0
    monkeypatch.setattr(Path, "unlink", Path.rmdir)
    honest.ports.expire()
    assert (honest.known(), honest.files()) == ([], {IDS[0], IDS[1]})


@pytest.mark.parametrize(("upstream", "left"), [(False, [IDS[0]]), (True, [])])
def test_versions_have_sixteen_bits(upstream: bool, left: list[str], tmp_path: Path) -> None:
    """Told are the low 16 bits; from the 65536th on the real agent takes every port for stale."""
    agent = Agent(tmp_path, upstream=upstream)
    for _ in range(65535):
        agent.ports.sync()
    agent.now = 60.0
    agent.ports.expire()
    agent.post(posted())
    assert agent.versions() == [65535]
    agent.ports.sync()
    agent.post(posted())
    assert agent.versions() == [0]
    agent.now = 120.0
    agent.ports.expire()
    assert agent.known() == left
    agent.post(posted())
    agent.now = 9999.0
    agent.ports.expire()  # a synchronisation ends once
    assert agent.known() == [IDS[0]]


def test_no_directory(tmp_path: Path) -> None:
    """A directory that cannot be made is an error."""
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match="cannot make the port directory"):
        Ports(tmp_path / "file" / "ports")


NETDEVS = st.sampled_from(["tap0", "tap1"])
BODIES = st.builds(
    posted,
    port=st.sampled_from(IDS),
    machine=st.sampled_from(MACHINES),
    type=st.sampled_from([0, 1, 2]),
    system_name=NETDEVS,
    mac_address=st.sampled_from(["52:54:00:00:00:01", "52:54:00:00:00:02", ""]),
)


class PortsMachine(RuleBasedStateMachine):
    """The honest agent against dictionaries, through restarts and synchronisations."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.agent = Agent(self.directory)
        self.files: dict[str, AgentPortMessage] = {}
        self.versions: dict[str, int] = {}
        self.version = 0
        self.timers: list[tuple[float, int]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @rule(values=st.lists(BODIES, max_size=3), array=st.booleans())
    def post(self, values: list[dict[str, Any]], array: bool) -> None:
        if not array and not values:
            return
        sent = values if array else values[:1]
        if not all(value["mac-address"] for value in sent):
            refusal(lambda: self.agent.post(*sent, array=array), Invalid)
            return
        self.agent.post(*sent, array=array)
        for value in sent:
            self.files[value["id"]] = messages.port(value)
            self.versions[value["id"]] = self.version

    @rule(port=st.sampled_from(IDS))
    def delete(self, port: str) -> None:
        if port not in self.files:
            refusal(lambda: self.agent.ports.delete(port), NotFound)
            return
        self.agent.ports.delete(port)
        self._gone(port)

    @rule(port=st.sampled_from(IDS), enabled=st.booleans())
    def enable(self, port: str, enabled: bool) -> None:
        there = port in self.versions
        if there and self.files[port].type is AgentPortType.REMOTE:
            self.agent.ports.set_enabled(port, enabled=enabled)
            self.files[port] = replace(self.files[port], link_state=int(enabled))
        else:
            wrong = Invalid if there else NotFound
            refusal(lambda: self.agent.ports.set_enabled(port, enabled=enabled), wrong)

    @rule()
    def sync(self) -> None:
        self.agent.ports.sync()
        self.version += 1
        self.timers.append((self.agent.now + 60.0, self.version))

    @rule(seconds=st.sampled_from([1.0, 30.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.agent.now += seconds
        self.agent.ports.expire()
        for timer in [timer for timer in self.timers if timer[0] <= self.agent.now]:
            self.timers.remove(timer)
            for port, version in list(self.versions.items()):
                if version < timer[1] and self.files[port].type is not AgentPortType.NAMESPACE:
                    self._gone(port)

    @rule(there=st.sets(NETDEVS))
    def restart(self, there: set[str]) -> None:
        self.agent = Agent(self.directory)
        skipped = self.agent.ports.reload(lambda name: name in there)
        self.version, self.timers = 0, []
        self.versions = {
            port.id: 0
            for port in self.files.values()
            if port.type is AgentPortType.REMOTE or port.system_name in there
        }
        assert set(skipped) == self.files.keys() - self.versions.keys()

    def _gone(self, port: str) -> None:
        del self.files[port]
        self.versions.pop(port, None)

    @invariant()
    def agrees(self) -> None:
        """What is told, what was heard and what is in the files is what should be."""
        there = {port: self.files[port] for port in self.versions}
        ports = self.agent.ports
        told = {each.port.id: each.version for each in ports.subscriptions()}
        assert told == self.versions
        assert self.agent.heard.there == there
        assert {port: ports.get(port) for port in IDS} == {port: there.get(port) for port in IDS}
        files = {path.name: messages.ports(path.read_text()) for path in self.directory.iterdir()}
        assert files == {port: [value] for port, value in self.files.items()}


TestPortsMachine = PortsMachine.TestCase
TestPortsMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)
