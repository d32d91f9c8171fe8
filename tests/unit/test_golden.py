"""What version 0.1.0 has written is read, and the names that others rely on stay."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import smartvif
from smartvif.cli.main import cli
from smartvif.cli.port_control import port_control
from smartvif.model import errors
from smartvif.operations.migration.offer import Move
from smartvif.plug.journal import Journal
from smartvif.plug.steps import codec
from smartvif.switches import registry
from tests.support.command_tree import below

CHECKOUT = Path(__file__).parents[2]
GOLDEN = CHECKOUT / "tests/golden"
STATE = (GOLDEN / "state-0.1.0.sql").read_text()
SOURCES = sorted(Path(smartvif.__file__).parent.rglob("*.py"))


def recorded(query: str) -> list[Any]:
    """Rows of the recorded journal, as SQLite has them."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(STATE)
        return database.execute(query).fetchall()


PORTS = {row[0]: row[1:] for row in recorded("SELECT id, state, vf, facts FROM ports")}
STEPS = recorded("SELECT port, number, kind, fields, found, done FROM steps ORDER BY port, number")
MACHINES = {
    port: json.loads(fields)["spec"]["external_ids"]["vm-uuid"]
    if kind == "SwitchPort"
    else json.loads(fields)["port"]["machine"]
    for port, _, kind, fields, *_ in STEPS
    if kind in {"SwitchPort", "AgentPort"}
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The journal that version 0.1.0 left."""
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as database:
        database.executescript(STATE)
    with contextlib.closing(Journal(tmp_path)) as opened:
        yield opened


def test_the_recorded_journal_has_everything() -> None:
    """It has each kind of step and each state, and facts with needs, with null and without."""
    assert {kind for _, _, kind, *_ in STEPS} == public_names()["step"]
    assert {state for state, _, _ in PORTS.values()} == {"plugging", "plugged", "unplugging"}
    needs = {type(json.loads(facts).get("needs", ...)) for _, _, facts in PORTS.values()}
    assert needs == {dict, type(None), type(...)}
    assert {done for *_, done in STEPS} == {0, 1}


@pytest.mark.parametrize("port", PORTS)
def test_each_port_is_read(journal: Journal, port: str) -> None:
    """Each port of the recorded journal has its state, its VF and its facts."""
    state, vf, facts = PORTS[port]
    found = journal.port(port)
    assert found is not None
    assert (found.id, found.status, found.vf and str(found.vf)) == (port, state, vf)
    assert found.facts.as_json() == {"needs": None, **json.loads(facts)}


def test_all_ports_are_read(journal: Journal) -> None:
    """The ports come in the order in which they were plugged."""
    assert [port.id for port in journal.ports()] == list(PORTS)


def assert_has(found: Any, recorded: Any) -> None:
    """Each recorded value is there; a newer version may have more fields."""
    if isinstance(recorded, dict):
        for key, value in recorded.items():
            assert_has(found[key], value)
    else:
        assert found == recorded


@pytest.mark.parametrize("port", PORTS)
def test_each_step_is_read_and_written_alike(journal: Journal, port: str) -> None:
    """Each step of a recorded port is read, and would be written with the same kind and fields.

    A guest's interface has its machine's UUID besides, from the port's own rows.
    """
    rows = [row[1:] for row in STEPS if row[0] == port]
    entries = journal.entries(port)
    for entry, (number, kind, fields, found, done) in zip(entries, rows, strict=True):
        assert (entry.number, entry.found, entry.done) == (number, json.loads(found), bool(done))
        written = codec.dump(entry.step)
        assert written[0] == kind
        machine = {"uuid": MACHINES[port]} if kind == "GuestInterface" else {}
        assert_has(json.loads(json.dumps(written[1])), json.loads(fields) | machine)


def test_moves_are_read(journal: Journal) -> None:
    """The machines that are leaving are read with all that was written of them."""
    rows = recorded("SELECT vm, document FROM moves ORDER BY vm")
    assert [Move.load(vm, document).offer.vm for vm, document in rows] == ["vm1", "vm2"]
    assert journal.moves() == {json.loads(document)["uuid"]: document for _, document in rows}


@pytest.mark.parametrize("port", PORTS)
def test_machines_are_known_by_their_uuids(journal: Journal, port: str) -> None:
    """Each port whose switch was told of its machine has the machine's UUID in its facts."""
    found = journal.port(port)
    assert found is not None
    assert found.facts.vm_uuid == MACHINES.get(port)


def public_names() -> dict[str, set[str]]:
    """The names that must stay, by what they are."""
    found: dict[str, set[str]] = {}
    for line in (GOLDEN / "public_names.txt").read_text().splitlines():
        kind, _, name = line.partition(": ")
        found.setdefault(kind, set()).add(name)
    return found


def project() -> dict[str, Any]:
    """The project's table of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return found


def entry_points() -> dict[str, str]:
    """Where each entry point and each console script is, by its group and name."""
    groups = {"console_scripts": project()["scripts"], **project()["entry-points"]}
    return {f"{group} {name}": at for group, names in groups.items() for name, at in names.items()}


def options(command: click.Command, name: str) -> Iterator[str]:
    """Every command below ``name``, its options and arguments, and what can be chosen by each."""
    yield name
    for parameter in command.params:
        choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
        if "--switch" in parameter.opts:  # of any switch that is installed, ours included
            choices = registry.attachable(registry.OURS)
        argument = isinstance(parameter, click.Argument)
        for word in [(parameter.name or "").upper()] if argument else parameter.opts:
            yield f"{name} {word}"
            yield from (f"{name} {word} {choice}" for choice in choices)
    if isinstance(command, click.Group):
        for word, inner in below(command):
            yield from options(inner, f"{name} {word}")


def exit_codes(kind: type[errors.SmartvifError] = errors.SmartvifError) -> Iterator[str]:
    """The exit code of an error and of those below it in the tree of model.errors."""
    if kind.__module__ == errors.__name__:
        yield f"{kind.__name__} {kind.exit_code}"
        for below in kind.__subclasses__():
            yield from exit_codes(below)


def texts() -> Iterator[str]:
    """Every constant text in a source."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def schemas() -> Iterator[str]:
    """What the commands call their documents."""
    for path in SOURCES:
        yield from re.findall(r'print_json\(\s*"([\w-]+)"', path.read_text())


_IMPORT = """
import importlib, inspect, json, sys
for name in json.load(sys.stdin):
    module, _, path = name.partition(":")
    value = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    if inspect.isroutine(value):
        name = f"{name}({', '.join(inspect.signature(value).parameters)})"
    print(value if isinstance(value, str) else name)
"""


def imported(names: Iterable[str]) -> set[str]:
    """The names as another process finds them: a function with its parameters, a text as it is.

    OpenStack's libraries change what a fork does in the process that imports them.
    """
    asked = [name.partition("(")[0] for name in names]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _IMPORT],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


def test_steps_keep_their_kinds() -> None:
    """Each kind of step that a journal may hold is still known."""
    assert public_names()["step"] <= set(codec._KINDS)


def test_entry_points_stay() -> None:
    """Each entry point and console script is there and can be loaded."""
    wanted = public_names()["entry point"]
    assert wanted <= set(entry_points())
    places = {entry_points()[name] for name in wanted}
    assert len(imported(places)) == len(places)


def test_importable_names_stay() -> None:
    """What filters, tests and other programs import by name is where it was."""
    wanted = public_names()["import"]
    assert imported(wanted) == wanted


def test_privileged_contexts_know_their_own_names() -> None:
    """A privilege daemon is started by the name that operators' filters have."""
    wanted = public_names()["privileged context"]
    assert imported(f"{name.replace('.context', ':context')}.pypath" for name in wanted) == wanted


def test_external_ids_stay() -> None:
    """The keys by which ports in Open vSwitch are known are still written."""
    assert public_names()["external_ids"] <= set(texts())


def test_schemas_stay() -> None:
    """Each JSON document that a command prints keeps its name."""
    assert public_names()["schema"] <= {f"smartvif.{name}/1" for name in schemas()}


def test_exit_codes_stay() -> None:
    """Each error keeps its name and its exit code."""
    assert public_names()["error"] <= set(exit_codes())


def test_options_stay() -> None:
    """Each command keeps its options, and each option its choices."""
    known = {*options(cli, "smartvif"), *options(port_control, "vrouter-port-control")}
    assert public_names()["command"] <= known
