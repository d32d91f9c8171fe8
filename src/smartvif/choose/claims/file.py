"""The SQLite file of claims: its tables, the order of its writers, and its errors.

It is in WAL mode and not synced at every commit: a commit survives the process. It may be lost in
a power failure, which ends the machines that have the devices as well.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smartvif.choose.claims.ticket_lock import TicketLock
from smartvif.model.errors import CannotTell

_VERSION = 1
_SECONDS = 30.0  # to wait for another writer, with the ticket lock held
# A pool's facts are all its properties, as JSON: equal facts, one pool. A function is ``held`` by a
# user outside of the store. One that is no longer published stays only as long as a port has it.
_SCHEMA = (
    """CREATE TABLE hosts (name TEXT PRIMARY KEY, published TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE pools (
        id INTEGER PRIMARY KEY, host TEXT NOT NULL, pf TEXT NOT NULL,
        device TEXT NOT NULL CHECK (device IN ('VF', 'PF', 'vdpa')),
        facts TEXT NOT NULL, speed INTEGER CHECK (speed >= 0),
        UNIQUE (host, pf, device, facts)
    ) STRICT""",
    """CREATE TABLE functions (
        host TEXT NOT NULL, address TEXT NOT NULL, pool INTEGER NOT NULL REFERENCES pools (id),
        held TEXT, published INTEGER NOT NULL DEFAULT 1 CHECK (published IN (0, 1)),
        state TEXT NOT NULL DEFAULT 'available'
            CHECK (state IN ('available', 'claimed', 'allocated')),
        owner TEXT, rate INTEGER NOT NULL DEFAULT 0 CHECK (rate >= 0),
        PRIMARY KEY (host, address),
        CHECK ((state = 'available') = (owner IS NULL)),
        CHECK (owner IS NOT NULL OR (published AND rate = 0))
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX one_for_each_owner ON functions (owner) WHERE owner IS NOT NULL",
    # A covering index: counting reads no row of ``functions``.
    "CREATE INDEX counted ON functions (pool, state, held, rate)",
)


class ClaimsFile:
    """The file ``path`` and, beside it, the ticket lock of its writers; both are made if absent.

    Thread-safe.
    Raises: CannotTell.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._queue = TicketLock(path.with_name(f"{path.name}-turns"))
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._db = sqlite3.connect(path, timeout=_SECONDS, check_same_thread=False)
        self._db.isolation_level = None
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, under the ticket lock; rolled back if the body raises."""
        with self._explained(), self._queue.acquire(), self._mutex:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query, read from one consistent snapshot."""
        with self._explained(), self._mutex:
            return self._db.execute(query, values).fetchall()

    def _prepare(self) -> None:
        """Create the tables where the file is new.

        SQLite waits for other processes, but not while it switches a file to WAL: hence the lock.
        """
        with self._explained(), self._queue.acquire():
            version = self._version()
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA foreign_keys = ON")
        if version == _VERSION:
            return
        with self.change():
            # Another process may have created them meanwhile.
            if self._version() == 0:
                for statement in _SCHEMA:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _version(self) -> int:
        """The version of the tables; 0: there are none."""
        ((version, tables),) = self._db.execute(
            "SELECT user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version"
        ).fetchall()
        if version == 0 and tables:
            raise CannotTell("it is not a store of claims", where=str(self._path))
        if version > _VERSION:
            raise CannotTell(
                f"a newer smartvif made it, in version {version}; this one knows {_VERSION}",
                where=str(self._path),
                hint="use the newer one",
            )
        return int(version)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise CannotTell(
                f"cannot use the claims: {error}",
                where=str(self._path),
                hint="run it as root, or set SMARTVIF_STATE_DIR to a directory you can write",
            ) from error
