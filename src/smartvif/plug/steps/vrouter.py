"""The step that gives the vRouter a port."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.vrouter.agent import wait_for_socket
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.model.errors import CannotTell
from smartvif.plug.steps.step import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPort:
    """A port of the vRouter, known by its identifier.

    A ``deferrable`` one may wait in its file for an agent that is down. ``socket`` is the one that
    the vRouter makes for it, if any, within ``socket_wait`` seconds. Without ``persist`` it is gone
    when the agent restarts.
    """

    KIND: ClassVar[str] = "AgentPort"

    port: VRouterPort
    deferrable: bool = False
    socket: str | None = None
    socket_wait: float = 15.0
    persist: bool = True

    def describe(self) -> str:
        """Name the netdev and the network."""
        return f"add {self.port.netdev} to the vRouter, network {self.port.network}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Nothing: a port of that identifier is this one, whoever told the agent of it."""
        return {}

    def do(self, drivers: Drivers) -> None:
        """Tell the agent, and wait for the socket if there is to be one."""
        agent = drivers.need_vrouter()
        agent.add(self.port, persist=self.persist, deferrable=self.deferrable)
        if self.socket is not None:
            wait_for_socket(Path(self.socket), self.socket_wait)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Have the agent forget it."""
        drivers.need_vrouter().remove(self.port.id)

    def check(self, drivers: Drivers) -> bool:
        """Whether the agent has it now and will have it when it starts again.

        An agent that started before the netdev was there has passed over the file, and reads it
        no more: so the file alone says nothing. Of a port that it does not show yet nobody can
        tell, and telling it again does no harm.
        """
        agent = drivers.need_vrouter()
        if self.persist:
            known = agent.files.read(self.port.id)
            if known is None or not self.port.is_said_by(known):
                return False
        try:
            shown = agent.port(self.port.id)
        except CannotTell:
            return self.deferrable
        return shown is not None and self.port.is_meant_by(shown)
