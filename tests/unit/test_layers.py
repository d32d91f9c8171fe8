"""How the package hangs together: who may import whom, how long a module may be, what stays out."""

import ast
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import smartvif

ROOT = Path(smartvif.__file__).parent
# From top to bottom: a room may import from itself and from those below it. A room within a room is
# one of its own; what stands in a room beside such rooms is above or below them, as it is listed.
ROOMS = (
    "cli",
    "demo",
    "openstack",
    "operations",
    "operations.migration",
    "operations.ports",
    "context",
    "sim",
    "status",
    "diff",
    "switches",
    "plug",
    "plug.plans",
    "plug.steps",
    "observe",
    "guest",
    "choose.placement",
    "choose.claims",
    "choose.selection",
    "choose.allow_list",
    "control",
    "drivers.drivers",
    "drivers.forwarder",
    "drivers.ovs",
    "drivers.vrouter",
    "drivers.kernel",
    "host",
    "model",
)
MODULES = sorted(ROOT.rglob("*.py"))
FOREIGN = {
    "keystoneauth1",
    "libvirt",
    "os_vif",
    "oslo_config",
    "oslo_privsep",
    "oslo_versionedobjects",
}
HEAVY = FOREIGN | {"google.protobuf", "pyroute2", "rich", "sqlite3", "zmq"}
MOST_LINES = 400


def module_name(path: Path) -> str:
    """``smartvif.host.sriov`` for its file."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str) -> Iterator[str]:
    """Every module of ours that a source imports, anywhere in it: in functions as well."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                # `from smartvif.sim import host` names a module only with both parts.
                found = [f"{module}.{alias.name}" for alias in names]
            case ast.ImportFrom():
                raise AssertionError(f"a relative import in line {node.lineno}")
            case _:
                continue
        yield from (name for name in found if name.split(".")[0] == "smartvif")


def room(name: str) -> str | None:
    """The innermost room of a module, or None for the package itself."""
    parts = name.split(".")[1:]
    inside = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((each for each in inside if each in ROOMS), None)


def upward(name: str, source: str) -> list[str]:
    """The imports of a module that go up."""
    here = room(name)
    if here is None:
        return list(imports(source))
    allowed = set(ROOMS[ROOMS.index(here) :])
    return [each for each in imports(source) if (there := room(each)) and there not in allowed]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    """A module imports only from its own room and from those below."""
    assert upward(module_name(path), path.read_text()) == []


def test_upward_is_seen() -> None:
    """An import that goes up is found where it hides: in a function, under another name."""
    source = "def f():\n    from smartvif.sim import host as h\n    import smartvif.demo.demo\n"
    found = ["smartvif.sim.host", "smartvif.demo.demo"]
    assert upward("smartvif.host.sriov", source) == found
    assert upward("smartvif.cli.main", source) == []


def test_no_other_rooms() -> None:
    """Every module is in a room, so that none escapes the order."""
    homeless = [name for name in map(module_name, MODULES) if room(name) is None]
    assert homeless == ["smartvif", "smartvif.choose", "smartvif.drivers"]
    assert {room(module_name(path)) for path in MODULES} - {None} == set(ROOMS)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*/__init__.py")), ids=module_name)
def test_rooms_say_what_they_are(path: Path) -> None:
    """A room has a docstring, and its ``__all__`` names every module in it."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    (names,) = (node.value for node in tree.body if isinstance(node, ast.Assign))
    inside = {each.stem for each in path.parent.glob("*.py")} - {"__init__", "__main__"}
    inside |= {each.parent.name for each in path.parent.glob("*/__init__.py")}
    assert ast.literal_eval(names) == sorted(inside)


def test_class_names() -> None:
    """A class name means one thing in the whole package."""
    found = [
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, count in Counter(found).items() if count > 1] == []


def test_module_names() -> None:
    """No module is called by a preposition or an adverb: that does not say what is in it."""
    assert {path.stem for path in MODULES}.isdisjoint(
        {"again", "at", "by", "for", "from", "here", "in", "on", "there", "to", "together", "with"}
    )


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_length(path: Path) -> None:
    """A module can be read in one sitting."""
    assert len(path.read_text().splitlines()) <= MOST_LINES


def loaded_by(*arguments: str, state: Path) -> set[str]:
    """The heavy modules that a command has imported when it ends."""
    program = (
        "import json, sys\n"
        "from smartvif.cli.main import main\n"
        "sys.argv[0] = 'smartvif'\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        f"print(json.dumps([code, sorted({HEAVY} & sys.modules.keys())]))\n"
    )
    # The machine's own configuration and ports are no matter here.
    config = state / "empty.toml"
    config.touch()
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={
            "PYTHONPATH": str(ROOT.parent),
            "SMARTVIF_STATE_DIR": str(state),
            "SMARTVIF_CONFIG": str(config),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(result.stdout.splitlines()[-1])
    assert code == 0, result.stderr
    return set(modules)


@pytest.mark.parametrize("arguments", [("--help",), ("attach", "--help"), ("sim", "run", "--help")])
def test_help_is_cheap(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Help imports nothing that takes long."""
    assert loaded_by(*arguments, state=tmp_path) == set()


@pytest.mark.parametrize("arguments", [("ports",), ("map",), ("nic", "list")])
def test_looking_needs_no_openstack(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Commands that look import neither OpenStack's libraries nor libvirt's."""
    assert loaded_by(*arguments, "-f", "json", state=tmp_path).isdisjoint(FOREIGN)
