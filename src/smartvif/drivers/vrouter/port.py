"""A port as the vRouter's agent is told of it, and the file that tells it again when it restarts.

The keys are those of the agent's port API and of its port files, which are the same document
(tungstenfabric/tf-controller, src/vnsw/agent/port_ipc).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from smartvif.model import checks
from smartvif.model.errors import CannotTell, Failed, Invalid

NIL = "00000000-0000-0000-0000-000000000000"
"""What the agent takes for no identifier."""
_NO_VLAN = -1
# How the agent writes -1, which it keeps in 16 bits.
_NO_VLAN_UNSIGNED = 65535
# What makes another port of one: the rest is for people, or comes from the agent's controller.
_IDENTITY = (
    "id",
    "instance-id",
    "vn-id",
    "mac-address",
    "system-name",
    "rx-vlan-id",
    "tx-vlan-id",
)


class PortType(IntEnum):
    """What is behind a port; the vRouter makes an exception of some."""

    NOVA_VM = 0
    NAMESPACE = 1
    ESXI = 2


class VhostUserMode(IntEnum):
    """Which end of a vhost-user socket QEMU is."""

    CLIENT = 0
    SERVER = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VRouterPort:
    """One port. ``netdev`` is the host's link that the vRouter is to take: a tap, a representor.

    ``machine`` and ``network`` are UUIDs, and so is ``project`` where it is known; ``name`` is the
    machine's, for the vRouter's DNS. VLANs go from 0; -1 is none.
    """

    id: str
    machine: str
    network: str
    name: str
    mac: str
    netdev: str
    project: str | None = None
    ip: str | None = None
    ip6: str | None = None
    type: int = PortType.NOVA_VM
    rx_vlan: int = _NO_VLAN
    tx_vlan: int = _NO_VLAN
    vhostuser_mode: int = VhostUserMode.CLIENT

    def document(self) -> dict[str, str | int]:
        """What the agent reads. It wants each of these keys, and text where it says text."""
        return {
            "id": self.id,
            "instance-id": self.machine,
            "display-name": self.name,
            "ip-address": self.ip or "0.0.0.0",  # noqa: S104  (the agent's "none")
            "ip6-address": self.ip6 or "::",
            "vn-id": self.network,
            "vm-project-id": self.project or NIL,
            "mac-address": self.mac,
            "system-name": self.netdev,
            "type": int(self.type),
            "rx-vlan-id": self.rx_vlan,
            "tx-vlan-id": self.tx_vlan,
            "vhostuser-mode": int(self.vhostuser_mode),
        }

    def is_said_by(self, document: Mapping[str, Any]) -> bool:
        """Whether a port file, ours or one that the agent wrote, says this and no other port."""
        return all(_same(document.get(key), value) for key, value in self.document().items())

    def is_meant_by(self, document: Mapping[str, Any]) -> bool:
        """Whether a file or the agent's answer is of this port, be its details others."""
        mine = self.document()
        return all(_same(document.get(key), mine[key]) for key in _IDENTITY)


def _same(there: object, here: str | int) -> bool:
    return there == here or (here == _NO_VLAN and there == _NO_VLAN_UNSIGNED)


class PortFiles:
    """The directory from which the agent reads its ports when it starts.

    Its files are named after the ports, which are UUIDs; everything here raises Invalid for others.
    A file is there whole or not at all: the agent never mends one that is empty or cut short, and
    the port of such a file is gone at its next start.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, port: str) -> dict[str, Any] | None:
        """What the file says, or None where there is none, or none that can be read as a port.

        Raises: CannotTell, where the directory cannot be read.
        """
        try:
            document = json.loads(self._path(port).read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            raise CannotTell(
                f"cannot read the port's file: {error.strerror}",
                where=str(self.directory / port),
                hint="run it as root",
            ) from error
        return document if isinstance(document, dict) else None

    def write(self, port: VRouterPort) -> None:
        """Write the port's file, in place of one that is there.

        Raises: Failed.
        """
        document = {**port.document(), "author": "smartvif", "time": str(datetime.now())}
        self.write_text(port.id, json.dumps(document))

    def write_text(self, port: str, text: str) -> None:
        """Write a file in one act that survives the loss of power.

        Raises: Failed.
        """
        # A name that is no UUID, so that the agent passes over it.
        unfinished = self._path(port).with_name(f".{port}.unfinished")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(
                unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
            )
            with open(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(handle)
            unfinished.replace(self._path(port))
            _sync(self.directory)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise Failed(
                f"cannot write the port's file: {error.strerror}",
                where=str(self.directory / port),
                hint="the vRouter would forget the port when it restarts; see df and ls -ld there",
            ) from error

    def remove(self, port: str) -> None:
        """Remove a file; absent is fine.

        Raises: Failed.
        """
        try:
            self._path(port).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise Failed(
                f"cannot remove the port's file: {error.strerror}",
                where=str(self.directory / port),
                hint="the vRouter would make the port again when it restarts",
            ) from error

    def netdevs(self) -> dict[str, str]:
        """The port that has each netdev."""
        return {
            document["system-name"]: port
            for port, document in self._documents()
            if isinstance(document.get("system-name"), str)
        }

    def _path(self, port: str) -> Path:
        return self.directory / checks.uuid(port)

    def _documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            names = sorted(os.listdir(self.directory))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            with suppress(Invalid):
                document = self.read(checks.uuid(name))
                if document is not None:
                    yield name, document


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
