"""The file of a store of claims, and what can be wrong with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.model.errors import CannotTell
from tests.support.claim_store import choice


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE functions SET state = 'claimed'",
        "UPDATE functions SET owner = 'x'",
        "UPDATE functions SET rate = 1",
        "UPDATE functions SET published = 0",
        "UPDATE functions SET state = 'lost', owner = 'x'",
        "UPDATE functions SET owner = 'x', state = 'claimed'",
        "UPDATE functions SET pool = 99",
        "DELETE FROM pools",
        "UPDATE pools SET device = 'GPU'",
    ],
)
def test_the_tables_hold_what_they_can(claims: SqliteClaims, path: Path, change: str) -> None:
    """What is owned has an owner, what is free has none: SQLite sees to it."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(change)
    db.close()


def test_a_newer_file(claims: SqliteClaims, path: Path) -> None:
    """A file in a version that is not known is refused and left as it is."""
    claims.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(CannotTell, match="newer smartvif made it, in version 2") as caught:
        SqliteClaims(path)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_a_file_of_something_else(tmp_path: Path) -> None:
    """Neither another program's database nor what is none is written to."""
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE hosts (name)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(CannotTell, match="not a store of claims"):
        SqliteClaims(path)
    assert path.read_bytes() == before
    path.write_text("these are no claims, but quite a lot of other words" * 20)
    with pytest.raises(CannotTell, match="file is not a database") as caught:
        SqliteClaims(path)
    assert caught.value.where == str(path)


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    """It is said what is wrong and where, and what to do."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "claims.db", tmp_path):
        with pytest.raises(CannotTell, match="cannot use the claims") as caught:
            SqliteClaims(path)
        assert caught.value.where == str(path)
        assert "SMARTVIF_STATE_DIR" in caught.value.hint


def test_a_file_that_fails_later(claims: SqliteClaims, path: Path) -> None:
    """A method that cannot read or write says so, and has changed nothing."""
    db = sqlite3.connect(path)
    db.execute("CREATE TRIGGER t BEFORE UPDATE ON functions BEGIN SELECT RAISE(FAIL, 'full'); END")
    with pytest.raises(CannotTell, match="full"):
        claims.claim([choice("a")])
    db.execute("DROP TRIGGER t")
    db.close()
    claims.claim([choice("a")])
    claims.close()
    for act in (claims.claims, lambda: claims.pools(()), lambda: claims.release("a")):
        with pytest.raises(CannotTell):
            act()
