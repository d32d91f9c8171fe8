"""The step that adds a port to the vRouter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.vrouter.agent import AgentPortState, VRouterAgent, wait_for_socket
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.model.known import NOT_READ, Absent, Known, Present, Unknown
from smartvif.model.verdict import HOLDS, Difference, Verdict, first_of
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.step import NetdevRole, Snapshot, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPort:
    """A port of the vRouter, known by its identifier.

    A ``deferrable`` one may wait in its file for an agent that is down. ``socket`` is the one that
    the vRouter makes for it, if any, within ``socket_wait`` seconds. Without ``persist`` it is gone
    when the agent restarts.
    """

    KIND: ClassVar[str] = "AgentPort"
    ROLE: ClassVar[NetdevRole] = NetdevRole.REPRESENTOR

    port: VRouterPort
    deferrable: bool = False
    socket: str | None = None
    socket_wait: float = 15.0
    persist: bool = True

    def describe(self) -> str:
        """Name the netdev and the network."""
        return f"add {self.port.netdev} to the vRouter, network {self.port.network}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Nothing: a port of that identifier is this one, whichever program added it."""
        return {}

    def do(self, drivers: Drivers) -> None:
        """Add the port, and wait for the socket if there is to be one."""
        agent = drivers.need(VRouterAgent)
        agent.add(self.port, persist=self.persist, deferrable=self.deferrable)
        if self.socket is not None:
            wait_for_socket(Path(self.socket), self.socket_wait)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Remove the port."""
        drivers.need(VRouterAgent).remove(self.port.id)

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Other details of the port: the agent is told it again."""
        if not isinstance(new, AgentPort) or new.persist != self.persist:
            return ()
        return (new,) if new.port.id == self.port.id else ()

    def scope(self) -> Scope:
        """The port, by its identifier."""
        return Scope(switch_ports=frozenset({(VRouterAgent.NAME, self.port.id)}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether the agent has it now and will have it at its next start.

        An agent that started before the netdev existed has skipped the file, and does not read it
        again: so the file alone proves nothing.
        """
        found = seen.switch_port(VRouterAgent.NAME, self.port.id)
        if not isinstance(found, Present):
            return found if isinstance(found, Unknown) else NOT_READ
        state = found.value
        assert isinstance(state, AgentPortState)
        return first_of(self._compare_file(state.file), self._compare_shown(state.shown))

    @property
    def vf_netdev(self) -> str:
        """The representor, of a port that has a VF."""
        return self.port.netdev

    def renamed(self, netdev: str) -> AgentPort:
        """The same port on the same netdev by another name."""
        return replace(self, port=replace(self.port, netdev=netdev))

    def _compare_file(self, file: Known[Mapping[str, Any]]) -> Verdict:
        subject = f"file of port {self.port.id}"
        if not self.persist:
            return HOLDS
        if isinstance(file, Unknown):
            return file
        if isinstance(file, Absent):
            return Difference(subject, "there", "not there: the vRouter agent will forget the port")
        return (
            HOLDS
            if self.port.is_said_by(file.value)
            else Difference(subject, "of this port", "of another one")
        )

    def _compare_shown(self, shown: Known[Mapping[str, Any]]) -> Verdict:
        if isinstance(shown, Unknown):
            return shown
        if isinstance(shown, Absent):
            return Unknown(
                "the vRouter agent does not show it: does its controller have the network?",
                where="vRouter",
                retry=True,
            )
        if self.port.is_meant_by(shown.value):
            return HOLDS
        netdev, network = shown.value.get("system-name"), shown.value.get("vn-id")
        return Difference(
            f"port {self.port.id} of the vRouter agent",
            f"{self.port.netdev} in network {self.port.network}",
            f"{netdev} in network {network}",
        )
