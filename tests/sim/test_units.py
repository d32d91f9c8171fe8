"""The forwarder's systemd units: what they run makes a forwarder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from smartvif.drivers.forwarder.engine import EngineCapacity
from smartvif.drivers.forwarder.ovs_dpdk import OvsDpdkEngine
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import mapping, select
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.sim.testing import on_simulated_host

UNITS = Path(__file__).parents[2] / "packaging/systemd"
DATABASE, SWITCH = (
    UNITS / name for name in ("smartvif-forwarder-ovsdb.service", "smartvif-forwarder.service")
)
# A simulated host has directories of its own below /run only.
PLACES = {"/var/lib/": "/run/lib/", "/var/log/": "/run/log/"}


def settings(unit: Path, name: str) -> list[str]:
    """The values of a unit's setting."""
    text = unit.read_text().replace("\\\n", " ")
    for real, simulated in PLACES.items():
        text = text.replace(real, simulated)
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def environment(unit: Path) -> dict[str, str]:
    """The variables that its commands have."""
    pairs = (setting.split("=", 1) for setting in settings(unit, "Environment"))
    return dict(pairs)


def command(unit: Path, name: str) -> list[str]:
    """One of its commands, in words as systemd makes them."""
    (line,) = settings(unit, name)
    variables = environment(unit)
    words = shlex.split(line.removeprefix("-"))
    return [re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word) for word in words]


def test_they_start_again_always() -> None:
    """However and however often it ends, in less than a second."""
    assert settings(SWITCH, "StartLimitIntervalSec") == ["0"]
    for unit in (DATABASE, SWITCH):
        assert settings(unit, "Restart") == ["always"]
        assert settings(unit, "RestartSec") == ["200ms"]


@on_simulated_host("1x1")
def test_what_they_run() -> None:
    """The database is where smartvif.toml says, with what the forwarder is to be."""
    for directory in ("/run/smartvif/forwarder", "/run/lib/smartvif/forwarder"):
        Path(directory).mkdir(parents=True)
    Path("/run/log/smartvif/forwarder").mkdir(parents=True)
    for unit, names in ((DATABASE, ("ExecStartPre", "ExecStart")), (SWITCH, ("ExecStartPre",))):
        for name in names:
            ran = subprocess.run(
                command(unit, name),
                env={**os.environ, **environment(unit)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            assert ran.returncode == 0, ran.stdout
    (namespace,) = settings(SWITCH, "NetworkNamespacePath")
    assert Path(namespace).exists()
    (address,) = re.findall(r'database = "(.*)"', SWITCH.read_text())
    assert address in command(SWITCH, "ExecStart")
    switch = OpenVSwitch(Ovsdb(address))
    assert OvsDpdkEngine(switch, netns=Path(namespace).name).capacity() == EngineCapacity(
        relays=0, most=16, hugepages=True
    )
    reads = [select("Open_vSwitch", [], ["other_config"])]
    (found,) = switch.db.transact(reads, switch.deadline())
    config = mapping(found["rows"][0]["other_config"])
    assert config["dpdk-extra"] == "--file-prefix=smartvif-forwarder"
    assert (config["dpdk-socket-mem"], config["pmd-cpu-mask"]) == ("1024", "0x2")
    assert config["userspace-tso-enable"] == config["per-port-memory"] == "true"
    assert Path("/run/lib/smartvif/forwarder/conf.db").exists()
