"""The files from which the vRouter's agent reads its ports when it starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.model import checks
from smartvif.model.errors import CannotTell, Failed, Invalid


class PortFiles:
    """The directory from which the agent reads its ports when it starts.

    Its files are named after the ports, which are UUIDs; everything here raises Invalid for others.
    Writing is atomic: the agent never repairs a file that is empty or truncated, and the port of
    such a file is gone at its next start.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, port: str) -> dict[str, Any] | None:
        """The port in the file; None where there is none, or none that can be read as a port.

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
        """Write or replace the port's file.

        Raises: Failed.
        """
        document = {**port.document(), "author": "smartvif", "time": str(datetime.now())}
        self.write_text(port.id, json.dumps(document))

    def write_text(self, port: str, text: str) -> None:
        """Write a file atomically and durably.

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
        """Remove a file. Idempotent.

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
