"""Words for ``vrouter-port-control``, and the agent that hears of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smartvif.operations.ports.vrouter_port import Timeouts
from smartvif.plug.journal import Journal
from smartvif.sim.vrouter.api import AgentServer, Faults
from smartvif.sim.vrouter.ports import Ports

PORT = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
VM = "11111111-1111-4111-8111-111111111111"
NETWORK = "22222222-2222-4222-8222-222222222222"
PROJECT = "33333333-3333-4333-8333-333333333333"
NIL = "00000000-0000-0000-0000-000000000000"
MAC = "52:54:00:12:34:56"
NEVER = Timeouts(agent=0.0, datapath=0.0, socket=0.0)


# What Nova's plugin says of a port, in its order (OpenSDN-io/tf-nova-vif-driver).
ADD = {
    "oper": "add",
    "uuid": PORT,
    "instance_uuid": VM,
    "vn_uuid": NETWORK,
    "vm_project_uuid": PROJECT.replace("-", ""),
    "ip_address": "10.0.0.5",
    "ipv6_address": "None",
    "vm_name": "vm-1",
    "mac": MAC,
    "tap_name": "tap0d9a1b2c-3e",
    "port_type": "NovaVMPort",
    "tx_vlan_id": "-1",
    "rx_vlan_id": "-1",
}


# The keys of a port file as the original script writes it, and their JSON types.
KEYS = {
    **dict.fromkeys(("id", "instance-id", "ip-address", "ip6-address", "vn-id"), str),
    **dict.fromkeys(("display-name", "vm-project-id", "mac-address", "system-name"), str),
    **dict.fromkeys(("type", "rx-vlan-id", "tx-vlan-id", "vhostuser-mode"), int),
    **dict.fromkeys(("author", "time"), str),
}


def words(**changed: str | None) -> list[str]:
    """The arguments of ``add`` but for those given; None leaves one away."""
    asked = {**ADD, **changed}
    return [f"--{name}={value}" for name, value in asked.items() if value is not None]


def short(oper: str, *more: str) -> list[str]:
    """The arguments of another act."""
    return [f"--oper={oper}", f"--uuid={PORT}", *more]


class Recorded(Ports):
    """Ports that keep what was posted."""

    posted: list[dict[str, Any]]

    def add(self, body: str) -> None:
        self.posted.append(json.loads(body))
        super().add(body)


@dataclass(kw_only=True)
class Agent:
    """An agent that can be down, and the journal's and the files' places."""

    root: Path
    faults: Faults
    ports: Recorded
    server: AgentServer

    @property
    def file(self) -> Path:
        return self.root / "ports" / PORT

    @property
    def known(self) -> list[str]:
        return [each.port.system_name for each in self.ports.subscriptions()]

    def journalled(self) -> list[str]:
        """What the journal has; it is not made by looking."""
        if not (self.root / "state").exists():
            return []
        journal = Journal(self.root / "state")
        try:
            return [record.id for record in journal.ports()]
        finally:
            journal.close()

    def nothing_is_left(self) -> bool:
        files = os.listdir(self.root / "ports")
        return files == [] and self.known == [] and self.journalled() == []


def listening(path: Path) -> socket.socket:
    """A Unix socket at ``path``."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


def vhost_user(agent: Agent, mode: str = "0") -> list[str]:
    """The arguments of a port of the DPDK vRouter."""
    return words(vif_type="VhostUser", vhostuser_socket=f"{agent.root}/uvh", vhostuser_mode=mode)


def said(capfd: pytest.CaptureFixture[str]) -> str:
    """What is on stderr; nothing is on stdout."""
    out, err = capfd.readouterr()
    assert out == ""
    return err


# --- the command as a process


def process(
    arguments: list[bytes], program: str = "from smartvif.cli.port_control import main; main()"
) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, check=False, timeout=60
    )


def golden() -> dict[str, object]:
    """A port as the original script posts it."""
    return {
        "id": PORT,
        "instance-id": VM,
        "ip-address": "10.0.0.5",
        "ip6-address": "None",
        "vn-id": NETWORK,
        "display-name": "vm-1",
        "vm-project-id": PROJECT,
        "mac-address": MAC,
        "system-name": "tap0",
        "type": 0,
        "rx-vlan-id": -1,
        "tx-vlan-id": -1,
        "vhostuser-mode": 0,
        "time": "2026-01-01 00:00:00.000000",
    }
