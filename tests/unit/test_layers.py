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
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.steps.ovs import SwitchPort
from tests.support.facts import port_facts

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
FOREIGN = frozenset(
    {
        "keystoneauth1",
        "libvirt",
        "os_vif",
        "oslo_config",
        "oslo_privsep",
        "oslo_versionedobjects",
    }
)
# What no command that only looks has a use for: it takes long to import, or is for a plug.
NOT_TO_LOOK = FOREIGN | {
    "asyncio",
    "email",
    "google.protobuf",
    "http",
    "importlib.metadata",
    "pyroute2",
    "rich",
    "smartvif.choose.allow_list",
    "smartvif.choose.claims",
    "smartvif.choose.placement",
    "smartvif.choose.selection.select",
    "smartvif.control",
    "smartvif.demo",
    "smartvif.model.vif",
    "smartvif.openstack",
    "smartvif.operations",
    "smartvif.plug.plans",
    "smartvif.sim",
    "ssl",
    "zmq",
}
NOT_FOR_HELP = NOT_TO_LOOK | {
    "smartvif.choose",
    "smartvif.context",
    "smartvif.drivers",
    "smartvif.guest",
    "smartvif.host",
    "smartvif.model.port",
    "smartvif.model.port_spec",
    "smartvif.observe",
    "smartvif.plug",
    "smartvif.status",
    "smartvif.switches",
    "socket",
    "sqlite3",
    "tomllib",
    "xml",
}
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


def loaded_by(*arguments: str, state: Path, code: int = 0) -> set[str]:
    """The modules that a command has imported when it ends with that exit code."""
    program = (
        "import json, sys\n"
        "from smartvif.cli.main import main\n"
        "sys.argv[0] = 'smartvif'\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        "print()\n"
        "print(json.dumps([code, sorted(sys.modules)]))\n"
    )
    # The machine's own configuration, ports and switch are no matter here.
    config = state / "smartvif.toml"
    config.write_text(f'[openvswitch]\ndatabase = "unix:{state}/none"\n')
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
    found, modules = json.loads(result.stdout.splitlines()[-1])
    assert found == code, result.stderr
    return set(modules)


def below(modules: set[str], packages: frozenset[str]) -> list[str]:
    """Those of the modules that are one of the packages or in one."""
    return sorted(
        each for each in modules if any(f"{each}.".startswith(f"{name}.") for name in packages)
    )


@pytest.mark.parametrize("arguments", [("--help",), ("attach", "--help"), ("sim", "run", "--help")])
def test_help_is_cheap(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Help imports nothing that takes long, and no room but the model's choices and errors."""
    assert below(loaded_by(*arguments, state=tmp_path), NOT_FOR_HELP) == []


def test_a_command_imports_no_other(tmp_path: Path) -> None:
    """The commands are imported one by one."""
    loaded = loaded_by("ports", state=tmp_path)
    assert "smartvif.cli.status" in loaded
    assert "smartvif.cli.attach" not in loaded


def test_looking_is_cheap(tmp_path: Path) -> None:
    """The list of ports imports nothing that only a plug or another output needs.

    There is a port, whose switch does not answer.
    """
    journal = Journal(tmp_path)
    journal.begin("one", port_facts(switch_port="lo"))
    step = SwitchPort(spec=OvsPortSpec(bridge="br-int", name="lo", owner="one"))
    journal.doing("one", 0, step, {})
    journal.done("one", 0)
    journal.set_status("one", PortStatus.PLUGGED)
    journal.close()
    assert below(loaded_by("ports", "-f", "json", state=tmp_path, code=3), NOT_TO_LOOK) == []


@pytest.mark.parametrize("arguments", [("ports",), ("map",), ("nic", "list")])
def test_looking_needs_no_openstack(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Commands that look import neither OpenStack's libraries nor libvirt's."""
    assert below(loaded_by(*arguments, "-f", "json", state=tmp_path), FOREIGN) == []
