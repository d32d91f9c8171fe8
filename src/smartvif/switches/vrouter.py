"""The Tungsten Fabric / OpenSDN vRouter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.model.port import VifType
from smartvif.plug.steps.vrouter import AgentPort
from smartvif.switches.backend import Access, SwitchBackend, SwitchReading

if TYPE_CHECKING:
    from smartvif.control.bind_vrouter import VRouterHost
    from smartvif.model.port import Binding, Port
    from smartvif.model.port_spec import PortSpec
    from smartvif.switches.backend import PlanTable, SocketTable, VifTable


@dataclass(frozen=True, slots=True, kw_only=True)
class VRouterSettings:
    """``agent`` is its port API; ``ports`` the directory of its port files.

    ``timeout`` is the seconds that one plug may take of it.
    """

    agent: str = "http://127.0.0.1:9091"
    ports: str = "/var/lib/contrail/ports"
    timeout: float = 5.0


def _open(
    settings: VRouterSettings, *, files: Callable[[Path], PortFiles] = PortFiles
) -> VRouterAgent:
    return VRouterAgent(settings.agent, files(Path(settings.ports)), timeout=settings.timeout)


def _read(spec: PortSpec, agent: VRouterAgent, sockets: str) -> SwitchReading[VRouterHost]:
    from smartvif.control.bind_vrouter import VRouterHost

    # A tap's port can wait for an agent that is down.
    if spec.mode.needs_vf:
        agent.check_alive()
    return SwitchReading(facts=VRouterHost(name="", dpdk=False, vhost_user_dir=sockets))


def _bind(port: Port, host: VRouterHost) -> Binding:
    from smartvif.control.bind_vrouter import bind_vrouter

    return bind_vrouter(port, host)


def _vifs() -> VifTable:
    from smartvif.control import vrouter_vif

    return vrouter_vif.VIFS


def _sockets() -> SocketTable:
    from smartvif.control import vrouter_vif

    return vrouter_vif.SOCKETS


def _plans() -> PlanTable:
    from smartvif.plug.plans import vrouter

    return vrouter.PLANS


VROUTER = SwitchBackend(
    name=VRouterAgent.NAME,
    title=VRouterAgent.TITLE,
    vif_types=frozenset({VifType.VROUTER}),
    plugins=frozenset({"vrouter", "contrail_vrouter"}),
    requires=frozenset({"network"}),
    refuses=frozenset({"bridge", "vlan"}),
    vifs=_vifs,
    sockets=_sockets,
    plans=_plans,
    steps=(AgentPort,),
    access=Access(
        section="vrouter",
        settings=VRouterSettings,
        open=_open,
        read=_read,
        bind=_bind,
    ),
)
