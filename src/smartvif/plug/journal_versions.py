"""What earlier versions wrote into the journal, brought up to date by its rows.

Machines were known by their names. Their UUIDs are in each port's row, or in what the port's switch
was told of its machine.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from smartvif.model.port_facts import PortFacts

_INTERFACE = "GuestInterface"


def name_machines_by_uuid(database: sqlite3.Connection, ports: Mapping[str, PortFacts]) -> None:
    """Give ``ports`` and their guests' interfaces the machine's UUID, and moves the key by it.

    Rows that cannot be read stay, and so do those where no row has the UUID.
    """
    for port, facts in ports.items():
        steps = _steps(database, port)
        uuid = facts.vm_uuid or next(filter(None, map(_machine_told, steps.values())), None)
        text = replace(facts, vm_uuid=uuid).dump()
        database.execute("UPDATE ports SET facts = ? WHERE id = ?", (text, port))
        if uuid is None:
            continue
        for number, fields in _without_uuid(database, port, steps):
            text = json.dumps({**fields, "uuid": uuid})
            change = "UPDATE steps SET fields = ? WHERE port = ? AND number = ?"
            database.execute(change, (text, port, number))
    for vm, document in database.execute("SELECT vm, document FROM moves").fetchall():
        uuid = _object(document).get("uuid")
        if isinstance(uuid, str):
            database.execute("UPDATE OR IGNORE moves SET vm = ? WHERE vm = ?", (uuid, vm))


def _steps(database: sqlite3.Connection, port: str) -> dict[int, dict[str, Any]]:
    rows = database.execute("SELECT number, fields FROM steps WHERE port = ?", (port,)).fetchall()
    return {number: _object(fields) for number, fields in rows}


def _without_uuid(
    database: sqlite3.Connection, port: str, steps: Mapping[int, dict[str, Any]]
) -> Iterator[tuple[int, dict[str, Any]]]:
    query = "SELECT number FROM steps WHERE port = ? AND kind = ?"
    for (number,) in database.execute(query, (port, _INTERFACE)).fetchall():
        if steps[number] and "uuid" not in steps[number]:
            yield number, steps[number]


def _machine_told(fields: Mapping[str, Any]) -> str | None:
    """The machine that a step told its switch of: Open vSwitch's, or the vRouter's agent."""
    for name, path in (("spec", ("external_ids", "vm-uuid")), ("port", ("machine",))):
        value = fields.get(name)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            return value
    return None


def _object(text: str) -> dict[str, Any]:
    """A row's object; empty where it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
