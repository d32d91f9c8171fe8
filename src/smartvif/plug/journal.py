"""The journal: every port with its facts and each step taken for it, so that all can be undone.

A step is written before it is taken and again after, so that the journal covers a process that dies
between any two instructions. It is one SQLite file in WAL mode: a commit survives the process. It
may be lost in a power failure, which ends the recorded links as well; the switch's database keeps
the owners of its ports.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from smartvif.model.errors import Ambiguous, CannotTell, Damaged, Failed, Invalid, NotFound, Refused
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import PortFacts
from smartvif.plug.journal_versions import name_machines_by_uuid
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
_PORTS = "SELECT id, state, vf, facts FROM ports"
_STEPS = "SELECT port, number, kind, fields, found, done FROM steps"
_VERSION = 2
"""The file's user_version. 0: written by smartvif 0.1.0, whose facts of ports have no version.

Before 2, steps and moves know a machine by its name.
"""


class PortStatus(StrEnum):
    """The state of a port. Any other than plugged is to be rolled back."""

    PLUGGING = "plugging"
    PLUGGED = "plugged"
    UNPLUGGING = "unplugging"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRecord:
    """One port as the journal has it."""

    id: str
    status: PortStatus
    facts: PortFacts

    @property
    def vf(self) -> PciAddress | None:
        """The VF that it has."""
        return None if self.facts.vf is None else self.facts.vf.address


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One recorded step of a port's plan, completed or interrupted."""

    number: int
    step: Step
    found: Snapshot
    done: bool


class Journal:
    """The journal in ``directory``, which is created if absent."""

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
                self._refuse_newer()
                self._db.executescript(_SCHEMA)
                self._bring_up_to_date()
        except (OSError, sqlite3.Error) as error:
            raise CannotTell(
                f"cannot use the journal: {error}",
                where=str(self._path),
                hint="run it as root, or set SMARTVIF_STATE_DIR to a directory you can write",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def locked(self, port: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the port's lock, across threads and processes; it ends with the process.

        Reentrant for a thread. With ``wait=False`` yields False where another holds it.
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
            # The holder before us deletes the file: then our lock is on a file without a name.
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

    def begin(self, port: str, facts: PortFacts) -> None:
        """Write that a port is being plugged, and claim its VF.

        Raises: Refused, where another port has the VF.
        """
        try:
            self._write(
                "INSERT INTO ports VALUES (?1, 'plugging', ?2, ?3)"
                " ON CONFLICT (id) DO UPDATE SET state = 'plugging', vf = ?2, facts = ?3",
                (port, _vf(facts), facts.dump()),
            )
        except sqlite3.IntegrityError:
            self.check_vf(port, facts)
            raise

    def check_vf(self, port: str, facts: PortFacts) -> None:
        """Check that no other port has the VF. Raises: Refused."""
        query = "SELECT id FROM ports WHERE vf = ? AND id != ?"
        for (holder,) in self._rows(query, (_vf(facts), port)):
            raise Refused(
                f"VF {_vf(facts)} is in use by port {holder}",
                hint="smartvif nic list shows which VFs are free",
            )

    def rewrite(self, port: str, facts: PortFacts, entries: Sequence[JournalEntry]) -> None:
        """Give a port other facts and steps, all at once.

        Raises: Refused, where another port has the VF.
        """
        values = (_vf(facts), facts.dump(), port)
        writes: list[tuple[str, tuple[Any, ...]]] = [
            ("UPDATE ports SET vf = ?, facts = ? WHERE id = ?", values),
            ("DELETE FROM steps WHERE port = ?", (port,)),
        ]
        for each in entries:
            kind, fields = codec.dump(each.step)
            row = (port, each.number, kind, json.dumps(fields), json.dumps(each.found), each.done)
            writes.append(("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?)", row))
        try:
            self._write_all(writes)
        except sqlite3.IntegrityError:
            self.check_vf(port, facts)
            raise

    def set_status(self, port: str, status: PortStatus) -> None:
        """Write the port's state."""
        self._write("UPDATE ports SET state = ? WHERE id = ?", (status, port))

    def doing(self, port: str, number: int, step: Step, found: Snapshot) -> None:
        """Write that a step is about to be taken, with its snapshot."""
        kind, fields = codec.dump(step)
        self._write(
            "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, 0)",
            (port, number, kind, json.dumps(fields), json.dumps(found)),
        )

    def done(self, port: str, number: int) -> None:
        """Write that a step has been taken."""
        self._write("UPDATE steps SET done = 1 WHERE port = ? AND number = ?", (port, number))

    def undone(self, port: str, number: int) -> None:
        """Delete a step that has been undone."""
        self._write("DELETE FROM steps WHERE port = ? AND number = ?", (port, number))

    def forget(self, port: str) -> None:
        """Delete a port without steps, and free its VF."""
        self._write("DELETE FROM ports WHERE id = ?", (port,))

    def begin_move(self, uuid: str, document: str) -> None:
        """Write that a machine is about to leave this host; ``document`` is all of it, as JSON."""
        self._write("INSERT OR REPLACE INTO moves VALUES (?, ?)", (uuid, document))

    def end_move(self, uuid: str) -> None:
        """Delete a move that is finished or rolled back."""
        self._write("DELETE FROM moves WHERE vm = ?", (uuid,))

    def moves(self) -> dict[str, str]:
        """The document of every move under way or interrupted, by the machine's UUID."""
        return dict(self._rows("SELECT vm, document FROM moves ORDER BY vm", ()))

    def entries(self, port: str) -> tuple[JournalEntry, ...]:
        """The steps taken or begun for a port, in order.

        Raises: Damaged; CannotTell, for a step that another version has written.
        """
        rows = self._rows(f"{_STEPS} WHERE port = ? ORDER BY number", (port,))
        return tuple(self._entry(row) for row in rows)

    def has(self, port: str) -> bool:
        """Whether there is a row for the port, readable or not."""
        return bool(self._rows("SELECT 1 FROM ports WHERE id = ?", (port,)))

    def port(self, port: str) -> PortRecord | None:
        """One port, or None.

        Raises: Damaged.
        """
        rows = self._rows(f"{_PORTS} WHERE id = ?", (port,))
        return self._record(*rows[0]) if rows else None

    def ports(self) -> tuple[PortRecord, ...]:
        """Every port that can be read, in the order in which they were first plugged."""
        return tuple(each for each in self._all().values() if isinstance(each, PortRecord))

    def damaged(self) -> dict[str, Damaged]:
        """Why a port, or a step of it, cannot be read; by port."""
        found = {port: each for port, each in self._all().items() if isinstance(each, Damaged)}
        for row in self._rows(f"{_STEPS} ORDER BY port, number", ()):
            try:
                self._entry(row)
            except Damaged as error:
                found.setdefault(row[0], error)
            except CannotTell:
                continue  # another version's step is not damaged
        return found

    def readable(
        self,
    ) -> tuple[list[tuple[PortRecord, tuple[JournalEntry, ...]]], dict[str, CannotTell]]:
        """Every port with its steps, in order; and why the others cannot be read, by port."""
        unreadable: dict[str, CannotTell] = dict(self.damaged())
        found = []
        for record in self.ports():
            try:
                found.append((record, self.entries(record.id)))
            except CannotTell as error:
                unreadable[record.id] = error
        return found, unreadable

    def find(self, name: str) -> str:
        """The identifier of the port whose identifier is or begins with ``name``.

        Raises: NotFound; Ambiguous, where several begin so.
        """
        ports: list[str] = [
            port for (port,) in self._rows("SELECT id FROM ports ORDER BY rowid", ())
        ]
        if name in ports:
            return name
        found: list[str] = [port for port in ports if port.startswith(name)] if name else []
        if len(found) == 1:
            return found[0]
        known = ", ".join(found or ports) or "none"
        if found:
            raise Ambiguous(f"several ports begin with '{name}'", where="ports", hint=known)
        raise NotFound(f"there is no port '{name}'", where="ports", hint=f"there are: {known}")

    def _all(self) -> dict[str, PortRecord | Damaged]:
        found: dict[str, PortRecord | Damaged] = {}
        for row in self._rows(f"{_PORTS} ORDER BY rowid", ()):
            try:
                found[row[0]] = self._record(*row)
            except Damaged as error:
                found[row[0]] = error
        return found

    def _record(self, port: str, state: str, vf: str | None, facts: str) -> PortRecord:
        try:
            status = PortStatus(state)
            return PortRecord(id=port, status=status, facts=PortFacts.load(facts, vf))
        except ValueError as error:
            raise self._damaged("ports", port, f"its state is '{state}'") from error
        except Damaged as error:
            raise self._damaged("ports", port, error.what, error.hint) from error

    def _entry(self, row: tuple[Any, ...]) -> JournalEntry:
        port, number, kind, fields, found, done = row
        try:
            step, snapshot = codec.load(kind, _object(fields)), _object(found)
        except (ValueError, Invalid) as error:
            raise self._damaged("steps", f"{port}, {number}", str(error)) from error
        return JournalEntry(number=number, step=step, found=snapshot, done=bool(done))

    def _damaged(self, table: str, row: str, what: str, hint: str = "") -> Damaged:
        return Damaged(
            what,
            where=f"{self._path}, table {table}, row {row}",
            hint=hint or "restore the file from a backup",
        )

    def _refuse_newer(self) -> None:
        ((version,),) = self._rows("PRAGMA user_version", ())
        if version > _VERSION:
            raise CannotTell(
                f"it was written by a newer smartvif: its version is {version}, and {_VERSION} is"
                " the newest known here",
                where=str(self._path),
                hint="use that smartvif, or set SMARTVIF_STATE_DIR to another directory",
            )

    def _bring_up_to_date(self) -> None:
        """Migrate the rows of earlier versions to this one; rows that cannot be read stay."""
        ((version,),) = self._rows("PRAGMA user_version", ())
        if version == _VERSION:
            return
        self._db.execute("BEGIN IMMEDIATE")
        name_machines_by_uuid(self._db, {port.id: port.facts for port in self.ports()})
        self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self._db.execute("COMMIT")

    def _write(self, query: str, values: tuple[Any, ...]) -> None:
        self._write_all([(query, values)])

    def _write_all(self, writes: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Make all of the changes or none."""
        try:
            with self._mutex:
                if len(writes) == 1:
                    self._db.execute(*writes[0])
                    return
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    for each in writes:
                        self._db.execute(*each)
                    self._db.execute("COMMIT")
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise Failed(f"cannot write the journal: {error}", where=str(self._path)) from error

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._mutex:
            return self._db.execute(query, values).fetchall()


def _vf(facts: PortFacts) -> str | None:
    return None if facts.vf is None else str(facts.vf.address)


def _object(text: str) -> dict[str, Any]:
    """Raises: ValueError, for what is no JSON object."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"it is {text}, and an object is needed")
    return found


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Wait for other processes: SQLite does not while it switches a file to WAL."""
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
