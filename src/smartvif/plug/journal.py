"""The record of every port: what it is, and each step taken for it, so that all can be undone.

A step is written before it is taken and again after; a process may die between any two
instructions and what it left is still known. One SQLite file in WAL mode: a commit survives the
death of the process. It may be lost with the power, and with it the links that it speaks of; the
switch's database keeps whose its ports are.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from smartvif.model.errors import Ambiguous, CannotTell, Failed, NotFound, Refused
from smartvif.plug.steps import codec
from smartvif.plug.steps.step import Snapshot, Step

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ports (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, vf TEXT UNIQUE, facts TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS steps (
    port TEXT NOT NULL REFERENCES ports (id), number INTEGER NOT NULL,
    kind TEXT NOT NULL, fields TEXT NOT NULL, found TEXT NOT NULL, done INTEGER NOT NULL,
    PRIMARY KEY (port, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moves (vm TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
"""


class PortStatus(StrEnum):
    """Where a port is in its life. Only a plugged one is not to be tidied up."""

    PLUGGING = "plugging"
    PLUGGED = "plugged"
    UNPLUGGING = "unplugging"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRecord:
    """One port as the journal has it. ``facts`` are what people want to know of it, as JSON."""

    id: str
    status: PortStatus
    vf: str | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One step of a port's plan, as far as it came."""

    number: int
    step: Step
    found: Snapshot
    done: bool


class Journal:
    """The journal in ``directory``, which is made if need be."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mutex = threading.RLock()
        self._mine = threading.local()
        self._path = directory / "state.db"
        try:
            (directory / "locks").mkdir(parents=True, exist_ok=True, mode=0o755)
            with _alone(directory):
                self._db = sqlite3.connect(self._path, timeout=30, check_same_thread=False)
                self._db.isolation_level = None
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise CannotTell(
                f"cannot use the journal: {error}",
                where=str(self._path),
                hint="run it as root, or set SMARTVIF_STATE_DIR to a directory of yours",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def locked(self, port: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the port alone, against threads and processes; the kernel frees a dead one's.

        A thread that holds it may take it again. With ``wait=False`` yields False where another
        holds it.
        """
        mine: set[str] = self._mine.__dict__.setdefault("ports", set())
        if port in mine:
            yield True
            return
        path = self._directory / "locks" / port
        while True:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(handle)
                yield False
                return
            # The holder before us deletes the file: then what we locked has no name any more.
            if _same(handle, path):
                break
            os.close(handle)
        mine.add(port)
        try:
            yield True
        finally:
            mine.remove(port)
            path.unlink(missing_ok=True)
            os.close(handle)

    def begin(self, port: str, *, vf: str | None, facts: dict[str, Any]) -> None:
        """Write that a port is being plugged, and claim its VF.

        Raises: Refused, where another port has the VF.
        """
        try:
            self._write(
                "INSERT INTO ports VALUES (?1, 'plugging', ?2, ?3)"
                " ON CONFLICT (id) DO UPDATE SET state = 'plugging', vf = ?2, facts = ?3",
                (port, vf, json.dumps(facts)),
            )
        except sqlite3.IntegrityError as error:
            (holder,) = self._rows("SELECT id FROM ports WHERE vf = ?", (vf,)) or (("?",),)
            raise Refused(
                f"VF {vf} is in use by port {holder[0]}",
                hint="smartvif nic list shows which VFs are free",
            ) from error

    def set_status(self, port: str, status: PortStatus) -> None:
        """Write how far the port is."""
        self._write("UPDATE ports SET state = ? WHERE id = ?", (status, port))

    def doing(self, port: str, number: int, step: Step, found: Snapshot) -> None:
        """Write that a step is about to be taken, and what it found."""
        kind, fields = codec.dump(step)
        self._write(
            "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, 0)",
            (port, number, kind, json.dumps(fields), json.dumps(found)),
        )

    def done(self, port: str, number: int) -> None:
        """Write that a step has been taken."""
        self._write("UPDATE steps SET done = 1 WHERE port = ? AND number = ?", (port, number))

    def undone(self, port: str, number: int) -> None:
        """Write that a step has been undone: forget it."""
        self._write("DELETE FROM steps WHERE port = ? AND number = ?", (port, number))

    def forget(self, port: str) -> None:
        """Forget a port of which no step is left, and free its VF."""
        self._write("DELETE FROM ports WHERE id = ?", (port,))

    def begin_move(self, vm: str, document: dict[str, Any]) -> None:
        """Write that a machine is about to leave this host; ``document`` is all of it, as JSON."""
        self._write("INSERT OR REPLACE INTO moves VALUES (?, ?)", (vm, json.dumps(document)))

    def end_move(self, vm: str) -> None:
        """Write that the machine has left with nothing to do any more, or has stayed."""
        self._write("DELETE FROM moves WHERE vm = ?", (vm,))

    def moves(self) -> dict[str, dict[str, Any]]:
        """The document of every machine that is leaving, or was when its process died."""
        rows = self._rows("SELECT vm, document FROM moves ORDER BY vm", ())
        return {vm: json.loads(document) for vm, document in rows}

    def entries(self, port: str) -> tuple[JournalEntry, ...]:
        """The steps taken or begun for a port, in order."""
        rows = self._rows(
            "SELECT number, kind, fields, found, done FROM steps WHERE port = ? ORDER BY number",
            (port,),
        )
        return tuple(
            JournalEntry(
                number=number,
                step=codec.load(kind, json.loads(fields)),
                found=json.loads(found),
                done=bool(done),
            )
            for number, kind, fields, found, done in rows
        )

    def port(self, port: str) -> PortRecord | None:
        """One port, or None."""
        return next(iter(self._ports("WHERE id = ?", (port,))), None)

    def ports(self) -> tuple[PortRecord, ...]:
        """Every port, in the order in which they were first plugged."""
        return self._ports("ORDER BY rowid", ())

    def find(self, name: str) -> PortRecord:
        """The port whose identifier is or begins with ``name``.

        Raises: NotFound; Ambiguous, where several begin so.
        """
        whole = self.port(name)
        if whole is not None:
            return whole
        ports = self.ports()
        found = [port for port in ports if port.id.startswith(name)] if name else []
        if len(found) == 1:
            return found[0]
        known = ", ".join(port.id for port in found or ports) or "none"
        if found:
            raise Ambiguous(f"several ports begin with '{name}'", where="ports", hint=known)
        raise NotFound(f"there is no port '{name}'", where="ports", hint=f"there are: {known}")

    def _ports(self, clause: str, values: tuple[str, ...]) -> tuple[PortRecord, ...]:
        query = f"SELECT id, state, vf, facts FROM ports {clause}"  # noqa: S608
        return tuple(
            PortRecord(id=port, status=PortStatus(status), vf=vf, facts=json.loads(facts))
            for port, status, vf, facts in self._rows(query, values)
        )

    def _write(self, query: str, values: tuple[Any, ...]) -> None:
        try:
            with self._mutex:
                self._db.execute(query, values)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise Failed(f"cannot write the journal: {error}", where=str(self._path)) from error

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._mutex:
            return self._db.execute(query, values).fetchall()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """SQLite waits for other processes, but not while it makes a file a WAL one."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
