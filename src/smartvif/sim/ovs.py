"""A real Open vSwitch in a directory of its own: the host's switch, and the DPDK forwarder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smartvif.drivers.ovs.client import DATABASE, Ovsdb
from smartvif.drivers.ovs.rows import ovsdb_map
from smartvif.model.deadline import Deadline
from smartvif.model.errors import Failed
from smartvif.sim.process import daemons, supervisor

_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
# Named in full, because Debian's alternatives let /usr/sbin/ovs-vswitchd be either of them.
_VSWITCHD = Path("/usr/lib/openvswitch-switch/ovs-vswitchd")
_VSWITCHD_DPDK = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")

_TSO = {"userspace-tso-enable": "true"}
"""Guests and veth hand over TCP segments that are not yet cut or summed; without this, a userspace
datapath drops them (docs.openvswitch.org, "Userspace Datapath - TSO"). Both ends must agree."""

HOST_CONFIG = {**_TSO, "vlan-limit": "0"}


def forwarder_config(relays: int) -> dict[str, str]:
    """The configuration of a forwarder for that many relays, on ordinary memory.

    --legacy-mem keeps OVS from adding --in-memory, which does not go with --no-huge. Each relay
    has packet buffers of its own, some 50 MiB: the shared pool that OVS would make for all is
    asked for in a size that this memory does not have.
    """
    memory = f"-m {128 + 64 * relays}"
    return {
        **_TSO,
        "dpdk-init": "true",
        "dpdk-extra": f"--no-huge --legacy-mem {memory} --no-shconf --no-pci --no-telemetry",
        "dpdk-lcore-mask": "0x1",
        "pmd-cpu-mask": hex(1 << ((os.cpu_count() or 1) - 1)),
        "per-port-memory": "true",
        # Polling threads that sleep when idle, in microseconds; renamed in OVS 3.2.
        "pmd-maxsleep": "500",
        "pmd-sleep-max": "500",
    }


@dataclass(slots=True, kw_only=True)
class OvsInstance:
    """One ovsdb-server and ovs-vswitchd. The files have the names that OVS's own tools expect.

    A ``supervised`` ovs-vswitchd that ends is started again. ``external_ids`` are what the database
    says of the instance.
    """

    directory: Path
    config: Mapping[str, str]
    netns: str | None = None
    dpdk: bool = False
    supervised: bool = False
    external_ids: Mapping[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where its database is."""
        return f"unix:{self.directory}/db.sock"

    def start(self) -> None:
        """Start both daemons; return when ovs-vswitchd has read its configuration.

        Raises: Failed, TimedOut.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.start_database()
        self._configure()
        self.start_vswitchd()

    def start_database(self) -> None:
        """Start ovsdb-server on the database that is there, or on a new one.

        Raises: Failed, TimedOut.
        """
        database, socket = self.directory / "conf.db", self.directory / "db.sock"
        if not database.exists():
            _create(database)
        socket.unlink(missing_ok=True)
        self._spawn(
            ["ovsdb-server", database, f"--remote=punix:{socket}", "--no-chdir"],
            "ovsdb-server",
            wait_for=socket,
        )

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd, unless it is supervised already; return when it acts on the database.

        Raises: Failed, TimedOut.
        """
        control, lock = self.directory / "ovs-vswitchd.ctl", self.directory / "supervisor.lock"
        program: list[str | Path] = [_installed(_VSWITCHD_DPDK if self.dpdk else _VSWITCHD)]
        if self.netns:
            program = ["ip", "netns", "exec", self.netns, *program]
        if self.supervised:
            program = [sys.executable, "-m", supervisor.__name__, lock, *program]
        if not (self.supervised and supervisor.is_held(lock)):
            control.unlink(missing_ok=True)
            self._spawn([*program, self.address, "--no-chdir"], "ovs-vswitchd", wait_for=control)
        database = Ovsdb(self.address)
        database.commit([], Deadline(10.0))
        database.close()

    def _spawn(self, argv: list[str | Path], name: str, *, wait_for: Path) -> None:
        log = self.directory / f"{name}.log"
        common = [
            f"--unixctl={self.directory}/{name}.ctl",
            f"--pidfile={self.directory}/{name}.pid",
            "--overwrite-pidfile",
        ]
        process = daemons.spawn([*argv, *common], log, env={**os.environ, **self._env()})
        self.processes.append(process)
        daemons.wait_for(wait_for, process, log)

    def _env(self) -> dict[str, str]:
        return {name: str(self.directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")}

    def _configure(self) -> None:
        database = Ovsdb(self.address)
        values = ovsdb_map(self.config)
        ids = ovsdb_map({"system-id": "smartvif-simulated", **self.external_ids})
        row = {"other_config": values, "external_ids": ids, "next_cfg": 0}
        database.transact([{"op": "insert", "table": DATABASE, "row": row}], Deadline(10.0))
        database.close()


def _create(database: Path) -> None:
    try:
        subprocess.run(
            ["ovsdb-tool", "create", str(database), str(_SCHEMA)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(
            f"cannot make an OVS database: {error}",
            where="sim",
            hint="install the package openvswitch-switch",
        ) from error


def _installed(program: Path) -> Path:
    if not program.exists():
        raise Failed(
            f"{program} is not there",
            where="sim",
            hint=f"install the package {program.parent.name}",
        )
    return program
