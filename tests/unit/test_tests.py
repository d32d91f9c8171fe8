"""How the tests hang together: what they share is in tests/support, and no file is too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.checkout import CHECKOUT

TESTS = CHECKOUT / "tests"
MOST_LINES = 500


def imported(source: str) -> Iterator[str]:
    """The full names of all that a source imports; each name of a ``from`` import is one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def problems(name: str, source: str) -> list[str]:
    """What is wrong with a file of that name and this content."""
    found = [
        f"it imports {each}"
        for each in imported(source)
        if any(part.startswith("test_") for part in each.split("."))
    ]
    lines = len(source.splitlines())
    if name.startswith("test_") and lines > MOST_LINES:
        found.append(f"it has {lines} lines")
    return found


def test_every_file() -> None:
    """No file imports a test module, and no test module has more lines than that."""
    files = {path: path.read_text() for path in TESTS.rglob("*.py")}
    assert len(files) > 100
    found = {
        str(path.relative_to(CHECKOUT)): wrong
        for path, source in files.items()
        if (wrong := problems(path.name, source))
    }
    assert found == {}


def test_support_has_no_test() -> None:
    """What tests share is no test, so pytest collects nothing of it."""
    assert list((TESTS / "support").rglob("test_*.py")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import test_cli",
        "from test_cli import ask",
        "import tests.sim.ports.test_cli as cli",
        "from tests.sim.ports.test_cli import ask",
        "from tests.sim.ports import test_cli",
        "from .test_cli import ask",
        "from . import test_cli",
        "def ask():\n    from tests.sim.ports.test_cli import ask",
    ],
)
def test_an_import_of_a_test_module_is_found(source: str) -> None:
    """In each of its forms, whether at the top of the file or within a function."""
    assert problems("commands.py", source) != []


def test_a_long_file_is_found() -> None:
    """One line too many is, in a test module; imports of other names are not."""
    source = "from tests.support.commands import attach\n" + "pass\n" * (MOST_LINES - 1)
    assert problems("test_cli.py", source) == []
    assert problems("test_cli.py", source + "pass\n") == ["it has 501 lines"]
    assert problems("commands.py", source + "pass\n") == []
