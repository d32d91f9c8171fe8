"""The ports that the simulated vRouter agent has: a table, a file for each, and what goes stale.

Where the real agent hides a failure or a change behind a success, this one tells the truth, unless
it is asked to be as upstream is: ``Ports(..., upstream=True)``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from smartvif.model.errors import Failed, Invalid, NotFound
from smartvif.sim.vrouter import messages
from smartvif.sim.vrouter.messages import AgentPortMessage, AgentPortType

# DEFAULT.stale_interface_cleanup_timeout of the agent, in seconds.
STALE_AFTER = 60.0


class Listener(Protocol):
    """Who forwards for the ports. It is called in order, before the client hears; it never raises.

    A port that changes is deleted and added.
    """

    def port_added(self, port: AgentPortMessage) -> None:
        """There is a new port."""

    def port_deleted(self, port: AgentPortMessage) -> None:
        """A port is no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A port, and the synchronisation in which it was last asked for, in 16 bits."""

    port: AgentPortMessage
    version: int


class Ports:
    """The agent's ports, with their files in ``directory``, which is made if need be.

    ``configured`` tells whether the controller's configuration of a port has come: only then is
    the port told to those who ask. ``stale_after`` and what ``clock`` tells are in seconds. Any
    number of threads may use it.

    Raises: Failed, where the directory cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        *,
        listener: Listener | None = None,
        upstream: bool = False,
        configured: Callable[[AgentPortMessage], bool] = lambda port: True,
        stale_after: float = STALE_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.upstream = upstream
        self.configured = configured
        self._directory = directory
        self._listener = listener
        self._stale_after = stale_after
        self._clock = clock
        self._mutex = threading.RLock()
        # The version of each is kept whole; an entry of upstream has but 16 bits of it.
        self._table: dict[str, tuple[AgentPortMessage, int]] = {}
        self._version = 0
        self._timers: list[tuple[float, int]] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Failed(f"cannot make the port directory: {error}", where="sim") from error

    def add(self, body: str) -> None:
        """Add the port of an object, or those of an array; none, if one of them is bad.

        A file that cannot be written keeps its port and those behind it from being added.
        upstream: a bad array, and a port whose file cannot be written, are left out in silence.
        Raises: Invalid, Failed, in the agent's words.
        """
        with self._mutex:
            try:
                ports = messages.ports(body)
            except Invalid:
                if self.upstream and isinstance(messages.read(body, object), list):
                    return
                raise
            for port in ports:
                try:
                    self._write(
                        port, replace_file=not self.upstream and self._stored(port.id) != [port]
                    )
                except OSError as error:
                    if self.upstream:
                        continue
                    raise Failed(
                        f"Writing of Json string to file failed for {port.id}", where="sim"
                    ) from error
                self._subscribe(port)

    def delete(self, port_id: str) -> None:
        """Delete a port and its file, which may be there without a port.

        upstream: never an error.
        Raises: NotFound; Failed, where the file stays.
        """
        with self._mutex:
            path = self._path(port_id)
            there = path.is_file()
            known = self._forget(port_id)
            if not there and not known and not self.upstream:
                raise NotFound("Not Found", where="sim")
            try:
                if there:
                    path.unlink()
            except OSError as error:
                if not self.upstream:
                    raise Failed(f"Error deleting file {path}", where="sim") from error

    def get(self, port_id: str) -> AgentPortMessage | None:
        """The port, if there is one and its configuration has come."""
        with self._mutex:
            port, _ = self._table.get(port_id, (None, 0))
        return port if port is not None and self.configured(port) else None

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Every port, configured or not, in the order in which they came."""
        with self._mutex:
            return tuple(
                Subscription(port=port, version=version & 0xFFFF)
                for port, version in self._table.values()
            )

    def set_enabled(self, port_id: str, *, enabled: bool) -> None:
        """Bring a remote port's link up or down.

        Raises: NotFound, Invalid, Failed, in the agent's words.
        """
        with self._mutex:
            if port_id not in self._table:
                raise NotFound(f"Port Not found {port_id}", where="sim")
            port, version = self._table[port_id]
            if port.type is not AgentPortType.REMOTE:
                raise Invalid(f"Incorrect Port type for {port_id}", where="sim")
            if bool(port.link_state) == enabled:
                return
            changed = replace(port, link_state=int(enabled))
            try:
                self._write(changed, replace_file=True)
            except OSError as error:
                if not self.upstream:
                    verb = "enable" if enabled else "disable"
                    raise Failed(
                        f"Writing of Json to file failed on {verb} for {port_id}", where="sim"
                    ) from error
            self._forget(port_id)
            self._enter(changed, version)

    def sync(self) -> None:
        """Begin a synchronisation: ports not added again before its time is over are stale."""
        with self._mutex:
            self._version += 1
            self._timers.append((self._clock() + self._stale_after, self._version))

    def expire(self) -> None:
        """Delete what has become stale by now, with its files; never a port of a namespace."""
        with self._mutex:
            now = self._clock()
            due = [version for deadline, version in self._timers if deadline <= now]
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for oldest in due:
                for port, version in list(self._table.values()):
                    # upstream: from the 65536th synchronisation on, every entry looks old.
                    seen = version & 0xFFFF if self.upstream else version
                    if seen < oldest and port.type is not AgentPortType.NAMESPACE:
                        self._expire(port.id)

    def reload(self, exists: Callable[[str], bool]) -> dict[str, str]:
        """Add the ports whose files are there; ``exists`` tells whether there is such a netdev.

        Returns why files were passed over, by their names. They stay, and are not looked at again.
        """
        skipped = {}
        with self._mutex:
            for path in sorted(self._directory.iterdir()):
                if messages.uuid(path.name) == messages.NIL or not path.is_file():
                    continue
                try:
                    body = path.read_text(encoding="utf-8", errors="replace")
                    for port in messages.ports(body, exists):
                        self._subscribe(port)
                except (Invalid, OSError) as error:
                    skipped[path.name] = str(error)
        return skipped

    def _subscribe(self, port: AgentPortMessage) -> None:
        """Take a port into the table, which may have it or another of its identifier."""
        old, _ = self._table.get(port.id, (None, 0))
        kept = old is not None and (
            old.instance_id == port.instance_id if self.upstream else old == port
        )
        if old is not None and kept:
            self._table[port.id] = (old, self._version)
            return
        self._forget(port.id)
        self._enter(port, self._version)

    def _enter(self, port: AgentPortMessage, version: int) -> None:
        self._table[port.id] = (port, version)
        if self._listener is not None:
            self._listener.port_added(port)

    def _forget(self, port_id: str) -> bool:
        """Take a port out of the table; whether it was there."""
        if port_id not in self._table:
            return False
        port, _ = self._table.pop(port_id)
        if self._listener is not None:
            self._listener.port_deleted(port)
        return True

    def _expire(self, port_id: str) -> None:
        # There is no client to report to; the file that stays shows the failure.
        with contextlib.suppress(Failed):
            self.delete(port_id)

    def _path(self, port_id: str) -> Path:
        return self._directory / port_id

    def _stored(self, port_id: str) -> list[AgentPortMessage]:
        """What a port's file says, if it says anything."""
        try:
            text = self._path(port_id).read_text(encoding="utf-8", errors="replace")
            return messages.ports(text)
        except (Invalid, OSError):
            return []

    def _write(self, port: AgentPortMessage, *, replace_file: bool) -> None:
        """Write a port's file; an existing one only with ``replace_file``, and then atomically."""
        path = self._path(port.id)
        if path.exists() and not replace_file:
            return
        half = path.with_name(f".{path.name}")
        half.write_text(messages.file_text(port, time.time()), encoding="utf-8")
        os.replace(half, path)
