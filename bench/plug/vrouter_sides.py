"""The sides of the comparison on the vRouter: smartvif's plugin, a script, one HTTP request."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from oslo_config import cfg

from bench.plug import cases
from bench.plug.cases import Case
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.model.vif import Vif
from smartvif.openstack.os_vif.vrouter import VRouterPlugin
from smartvif.plug.plans.inputs import PortDevices
from smartvif.sim.host import host_vrouter
from smartvif.sim.vrouter.api import PORT

PORTS = host_vrouter().ports
AGENT = f"http://127.0.0.1:{PORT}"
_SCRIPT = Path(__file__).with_name("script_peer.py")
_HEADERS = {"Content-Type": "application/json"}


def port(case: Case) -> VRouterPort:
    """What the agent must know of a port, from either side."""
    return VRouterPort(
        id=case.id,
        machine=cases.VM,
        network=cases.VM,
        name="bench",
        mac=case.mac,
        netdev=case.netdev,
    )


class _InProcess(VRouterPlugin):
    """The plugin with links of its own process, where an unprivileged service has a daemon's."""

    def _open(self) -> Drivers:
        options = self.options
        files = PortFiles(Path(options.ports_directory))
        return Drivers(
            links=Links(),
            switches={"vrouter": VRouterAgent(options.agent, files, timeout=options.agent_timeout)},
        )

    def _devices(self, vif: Vif) -> PortDevices | None:
        found = super()._devices(vif)
        # The steps of a real host: a simulated VF has some more, which stand in for hardware.
        return found and replace(found, vf=replace(found.vf, simulated=False))


class Plugin:
    """smartvif's os-vif plugin, with its journal in ``state``."""

    def __init__(self, state: Path) -> None:
        import os_vif

        os_vif.initialize()
        self._plugin = _InProcess.load(_InProcess.NAME)
        for option, value in {
            "state_path": state,
            "ports_directory": PORTS,
            "agent": AGENT,
        }.items():
            cfg.CONF.set_override(option, str(value), _InProcess.GROUP)
        self._instance = cases.instance()
        self._vifs: dict[Case, Any] = {}

    def plug(self, case: Case) -> None:
        """Plug one port."""
        self._plugin.plug(self._vif(case), self._instance)

    def unplug(self, case: Case) -> None:
        """Take it away again."""
        self._plugin.unplug(self._vif(case), self._instance)

    def _vif(self, case: Case) -> Any:
        if case not in self._vifs:
            self._vifs[case] = cases.vrouter_vif(case)
        return self._vifs[case]


class Script:
    """An interpreter for each act. What a plugin does before and after it is not counted."""

    def plug(self, case: Case) -> None:
        """Plug one port."""
        self._run("add", json.dumps(port(case).document()))

    def unplug(self, case: Case) -> None:
        """Take it away again."""
        self._run("delete", case.id)

    def _run(self, act: str, what: str) -> None:
        argv: list[str | Path] = [sys.executable, _SCRIPT, act, PORTS, AGENT, what]
        subprocess.run(argv, check=True)


class Request:
    """One request on a kept connection, and nothing else: what the agent itself takes."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", PORT)

    def plug(self, case: Case) -> None:
        """Plug one port."""
        self._ask("POST", "/port", json.dumps(port(case).document()))

    def unplug(self, case: Case) -> None:
        """Take it away again."""
        self._ask("DELETE", f"/port/{case.id}", None)

    def _ask(self, method: str, path: str, body: str | None) -> None:
        self._connection.request(method, path, body, _HEADERS)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
