"""The ports of the simulated vRouter beside dictionaries, through restarts."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smartvif.model.errors import Invalid, NotFound
from smartvif.sim.vrouter import messages
from smartvif.sim.vrouter.messages import AgentPortMessage, AgentPortType
from tests.support.vrouter_ports import IDS, MACHINES, Agent, posted, refusal

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
