"""Ports as they are posted to the simulated vRouter, and who hears of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartvif.model.errors import SmartvifError
from smartvif.sim.vrouter.messages import AgentPortMessage
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


def refusal(act: Callable[[], None], kind: type[SmartvifError]) -> str:
    """The words in which something is refused."""
    with pytest.raises(kind) as caught:
        act()
    return caught.value.what
