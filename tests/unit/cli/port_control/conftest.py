"""The simulated agent, to which the configuration points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartvif.sim.vrouter import api
from smartvif.sim.vrouter.api import Faults
from tests.support.port_control import Agent, Recorded


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
        "timeout = 2\n"
    )
    monkeypatch.setenv("SMARTVIF_CONFIG", str(config))
    monkeypatch.setenv("SMARTVIF_STATE_DIR", str(tmp_path / "state"))
    yield Agent(root=tmp_path, faults=faults, ports=ports, server=server)
    server.stop()
