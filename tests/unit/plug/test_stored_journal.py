"""Journals that another version has written, and rows that cannot be read."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from smartvif.model.errors import CannotTell, Damaged
from smartvif.model.needs import NOTHING_SPECIAL
from smartvif.model.pci import PciAddress
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.steps.links import Tap

PLUGGED, OTHER = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3", "1e9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
# Its ports as 0.1.0 wrote them: without a version, and the VF in the row only.
VERSION_0 = """
CREATE TABLE ports (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, vf TEXT UNIQUE, facts TEXT NOT NULL
) STRICT;
CREATE TABLE steps (
    port TEXT NOT NULL REFERENCES ports (id), number INTEGER NOT NULL,
    kind TEXT NOT NULL, fields TEXT NOT NULL, found TEXT NOT NULL, done INTEGER NOT NULL,
    PRIMARY KEY (port, number)
) STRICT, WITHOUT ROWID;
"""
FACTS_0: dict[str, Any] = {
    "vif_type": "ovs",
    "vm": "vm1",
    "mode": "direct",
    "switch": "ovs",
    "bridge": "br-int",
    "network": None,
    "mac": "52:54:00:12:34:56",
    "vlan": None,
    "mtu": 1500,
    "pf": "0000:04:00.0",
    "switch_port": "p0r1",
    "socket": None,
    "simulated": [],
}


def write(directory: Path, query: str, *values: object) -> None:
    """Write into the file as nothing of ours would."""
    with contextlib.closing(sqlite3.connect(directory / "state.db")) as database, database:
        database.execute(query, values)


def stored(directory: Path, query: str) -> list[Any]:
    """What is in the file."""
    with contextlib.closing(sqlite3.connect(directory / "state.db")) as database:
        return database.execute(query).fetchall()


@pytest.fixture
def version_0(tmp_path: Path) -> Path:
    """A directory with a journal of 0.1.0 that has two ports, one of them with a step."""
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
        database.executescript(VERSION_0)
    port = "INSERT INTO ports VALUES (?, 'plugged', ?, ?)"
    needs = {**FACTS_0, "needs": NOTHING_SPECIAL.as_json()}
    write(tmp_path, port, PLUGGED, "0000:04:00.1", json.dumps(FACTS_0))
    write(tmp_path, port, OTHER, "0000:04:00.2", json.dumps(needs))
    fields = json.dumps({"name": "tap0", "mac": "52:54:00:12:34:56", "multi_queue": False})
    write(tmp_path, "INSERT INTO steps VALUES (?, 0, 'Tap', ?, '{}', 1)", PLUGGED, fields)
    return tmp_path


def test_a_journal_of_0_1_0(version_0: Path) -> None:
    """It is read, and what is in the file afterwards is what this version writes."""
    assert stored(version_0, "PRAGMA user_version") == [(0,)]
    for _ in range(2):
        with contextlib.closing(Journal(version_0)) as journal:
            plugged, other = journal.ports()
            (entry,) = journal.entries(PLUGGED)
            assert journal.damaged() == {}
        assert plugged.status is PortStatus.PLUGGED
        assert plugged.vf == PciAddress.parse("0000:04:00.1")
        assert plugged.facts.as_json() == {"needs": None, **FACTS_0}
        assert other.facts.needs == NOTHING_SPECIAL
        assert entry.step == Tap(name="tap0", mac="52:54:00:12:34:56")
        assert stored(version_0, "PRAGMA user_version") == [(2,)]
        facts = [json.loads(text) for (text,) in stored(version_0, "SELECT facts FROM ports")]
        assert [each["version"] for each in facts] == [1, 1]
        assert facts[0]["vf"] == {"number": None, "address": "0000:04:00.1"}


def test_a_journal_of_a_newer_version(version_0: Path) -> None:
    """It is refused, naming the file and what to do, and stays as it is."""
    write(version_0, "PRAGMA user_version = 3")
    before = stored(version_0, "SELECT * FROM ports")
    with pytest.raises(CannotTell, match="newer smartvif: its version is 3, and 2 is") as caught:
        Journal(version_0)
    assert caught.value.where == str(version_0 / "state.db")
    assert "SMARTVIF_STATE_DIR" in caught.value.hint
    assert stored(version_0, "SELECT * FROM ports") == before
    assert stored(version_0, "PRAGMA user_version") == [(3,)]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE ports SET facts = '{' WHERE id = ?", "Expecting property name"),
        ("UPDATE ports SET facts = '{}' WHERE id = ?", "is missing"),
        ("UPDATE ports SET facts = '[]' WHERE id = ?", "'list' object"),
        ("UPDATE ports SET state = 'resting' WHERE id = ?", "its state is 'resting'"),
    ],
)
@pytest.mark.parametrize("version", [0, 1])
def test_a_damaged_port(version_0: Path, damage: str, words: str, version: int) -> None:
    """It is that port's error, which names the row, and every other port is as before."""
    if version == 1:
        Journal(version_0).close()
    write(version_0, damage, PLUGGED)
    before = stored(version_0, "SELECT * FROM ports")[0]
    with contextlib.closing(Journal(version_0)) as journal:
        assert [port.id for port in journal.ports()] == [OTHER]
        assert list(journal.damaged()) == [PLUGGED]
        with pytest.raises(Damaged) as caught:
            journal.port(PLUGGED)
        assert str(caught.value) == str(journal.damaged()[PLUGGED])
        assert words in caught.value.what
        assert caught.value.where == f"{version_0}/state.db, table ports, row {PLUGGED}"
        assert "backup" in caught.value.hint
        # It can still be found, so that it can be detached.
        assert journal.has(PLUGGED)
        assert journal.find(PLUGGED[:4]) == PLUGGED
        assert len(journal.entries(PLUGGED)) == 1
    assert stored(version_0, "SELECT * FROM ports")[0] == before


@pytest.mark.parametrize(
    "damage", ["fields = '{'", "fields = '[]'", "fields = '5'", "found = ''", "found = 'null'"]
)
def test_a_damaged_step(version_0: Path, damage: str) -> None:
    """It is its port's error, which names the row, and every port can still be read."""
    write(version_0, f"UPDATE steps SET {damage}")  # noqa: S608
    with contextlib.closing(Journal(version_0)) as journal:
        assert [port.id for port in journal.ports()] == [PLUGGED, OTHER]
        with pytest.raises(Damaged) as caught:
            journal.entries(PLUGGED)
        assert caught.value.where == f"{version_0}/state.db, table steps, row {PLUGGED}, 0"
        assert {port: str(error) for port, error in journal.damaged().items()} == {
            PLUGGED: str(caught.value)
        }
        assert journal.entries(OTHER) == ()


def test_a_damaged_address(version_0: Path) -> None:
    """A step with an address that cannot be read is damaged as well."""
    step = "UPDATE steps SET kind = 'VfioBinding', fields = ?"
    write(version_0, step, '{"vf": "04:00.1"}')
    with contextlib.closing(Journal(version_0)) as journal:
        with pytest.raises(Damaged, match=r"'04:00\.1' is not a PCI address"):
            journal.entries(PLUGGED)
        assert list(journal.damaged()) == [PLUGGED]


def test_a_step_of_another_version(version_0: Path) -> None:
    """It is not damaged: the version that wrote it can finish it, and no other port is hindered."""
    write(version_0, "UPDATE steps SET kind = 'Teleport'")
    with contextlib.closing(Journal(version_0)) as journal:
        with pytest.raises(CannotTell, match="not known here: Teleport") as caught:
            journal.entries(PLUGGED)
        assert type(caught.value) is CannotTell
        assert journal.damaged() == {}
        assert len(journal.ports()) == 2
