"""The documentation says what the code does."""

import ast
import dataclasses
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import smartvif
from smartvif.cli.main import cli
from smartvif.cli.port_control import port_control
from smartvif.context.settings import SECTIONS
from smartvif.model import errors
from smartvif.switches.registry import OURS
from tests.support.checkout import CHECKOUT
from tests.support.command_tree import below

REFERENCE = CHECKOUT / "docs/reference/cli.md"
ARCHITECTURE = CHECKOUT / "docs/architecture.md"
ROOT = Path(smartvif.__file__).parent
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])
SOURCES = sorted(ROOT.rglob("*.py"))
# Vague subjects and riddles, where the field has a term: idempotent, unknown, release, orphan.
AVOIDED = re.compile(
    r"\b(nobodys?|somebodys?|anybodys?|whoever|whose it is|by whom|anew|for good|twice is once"
    r"|holds? no more(?! than)|(?:sees?|seen|saw) to it|(?:can|cannot|can't) tell|told apart"
    r"|(?:gives?|given|gave|giving)(?: it| them)? back|promis(?:e|es|ed)|mend(?:s|ed)?"
    r"|tid(?:y|ies|ied)(?: \w+)? up)\b".replace(" ", r"\s+"),
    re.IGNORECASE,
)


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, by its full name; groups themselves as well."""
    yield name, group
    for word, command in below(group):
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


def sections(page: Path) -> dict[str, str]:
    """The text below each heading, by the heading without its marks."""
    parts = re.split(r"^#+ (.*)\n", page.read_text(), flags=re.MULTILINE)
    return {
        title.replace("`", ""): text for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


COMMANDS = dict(commands(cli, "smartvif"))
HELPED: dict[str, click.Command] = {**COMMANDS, "vrouter-port-control": port_control}
LEAVES = [name for name, command in HELPED.items() if not isinstance(command, click.Group)]


def avoided(text: str) -> list[str]:
    """The words of a text that are not to be used."""
    return [match[0] for match in AVOIDED.finditer(text)]


def help_text(name: str) -> str:
    """All help of a command, as it is printed."""
    command = HELPED[name]
    return command.get_help(click.Context(command, info_name=name))


def examples(name: str) -> list[str]:
    """The command lines that a command's help has as examples."""
    _, _, lines = help_text(name).partition("\n  Example")
    return [line.strip() for line in lines.splitlines()[1:] if line]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command(name: str) -> None:
    """Each command has a section of its own, which names each of its options and arguments."""
    command, known = COMMANDS[name], sections(REFERENCE)
    if isinstance(command, click.Group) and name != "smartvif":
        assert all(f"{name} {word}" in known for word, _ in below(command))
        return
    assert name in known
    if not isinstance(command, click.Group):
        _, *arguments = command.collect_usage_pieces(click.Context(command))  # after [OPTIONS]
        assert all(argument.strip(".") in known[name] for argument in arguments)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            found = re.findall(r"(?<![\w-])--?[\w-]+", known[name])
            assert set(parameter.opts) & set(found), f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", LEAVES)
def test_every_help_has_an_example(name: str) -> None:
    """Each command's help shows the command itself, as it is accepted: each option exists."""
    assert examples(name)
    for line in examples(name):
        assert line.startswith(name)
        words = shlex.split(line.partition(" < ")[0].removeprefix(name))
        HELPED[name].make_context(name, words)


@pytest.mark.parametrize("name", HELPED)
def test_every_option_has_help(name: str) -> None:
    """Each option says what it is for."""
    options = [each for each in HELPED[name].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []


@pytest.mark.parametrize("name", HELPED)
def test_words_of_the_help(name: str) -> None:
    """Help speaks in the field's terms: of a command and of each of its options."""
    assert avoided(help_text(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_words_of_the_pages(page: Path) -> None:
    """The pages speak in the field's terms, also where they show what commands print."""
    assert avoided(page.read_text()) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_of_the_sources(source: Path) -> None:
    """Errors, log lines, docstrings and comments speak in the field's terms."""
    assert avoided(source.read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Nobody is there.", ["Nobody"]),
        ("unknown: CannotTell; it cannot tell, nor can tell", ["cannot tell", "can tell"]),
        ("give back, gives it back and given\nback", ["give back", "gives it back", "given\nback"]),
        ("promised for good: mend and tidy it up", ["promised", "for good", "mend", "tidy it up"]),
        ("recommended; they see to it, and it has seen to it", ["see to it", "seen to it"]),
        ("```\nin use by somebody's port\n```", ["somebody"]),
        ("whoever waits makes it anew", ["whoever", "anew"]),
        ("an act: twice\nis once", ["twice\nis once"]),
        ("what holds no more, what hold no more", ["holds no more", "hold no more"]),
        ("reconcile sees to it; see\tto it", ["sees to it", "see\tto it"]),
        ("a new port, once, twice; it holds no more than 64 ports", []),
    ],
)
def test_avoided_words_are_found(text: str, found: list[str]) -> None:
    """A word that is not to be used is found in any case, in code blocks and over line ends."""
    assert avoided(text) == found


def test_no_command_too_many() -> None:
    """No section is about a command that there is not."""
    described = {title for title in sections(REFERENCE) if title.split()[0] == "smartvif"}
    assert described <= COMMANDS.keys()


def test_every_json_key() -> None:
    """Each key that a view writes is in the reference."""
    keys = set()
    rooms = ("status", "operations", "demo", "choose/allow_list")
    for path in (path for room in rooms for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in {"as_json", "_facts"}:
                dicts = [each for each in ast.walk(node) if isinstance(each, ast.Dict)]
                constants = [k for each in dicts for k in each.keys if isinstance(k, ast.Constant)]
                keys |= {str(constant.value) for constant in constants}
    assert len(keys) > 20
    text = REFERENCE.read_text()
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_every_setting() -> None:
    """Each section of the configuration file and each key in it is in the reference."""
    text = sections(REFERENCE)["Configuration"]
    rows = [row.access for row in OURS.values() if row.access is not None]
    for name, kind in ({**SECTIONS} | {access.section: access.settings for access in rows}).items():
        assert f"[{name}]" in text
        for key in dataclasses.fields(kind):
            assert re.search(rf"^{key.name} = ", text, re.MULTILINE), f"{name}.{key.name}"


def test_readme_begins_with_the_two_commands() -> None:
    """A reader finds out what to type on the first screen."""
    first_screen = "\n".join((CHECKOUT / "README.md").read_text().splitlines()[:24])
    assert "make demo" in first_screen
    assert "make test" in first_screen


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links(page: Path) -> None:
    """A link to a file of ours leads somewhere."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def exists(name: str) -> bool:
    """Whether a dotted name is a module of ours, or one defined in a module of ours."""
    *parts, last = name.split(".")
    module = ROOT.joinpath(*parts).with_suffix(".py")
    inside = module.read_text() if module.is_file() else ""
    return (
        ROOT.joinpath(*parts, last).is_dir()
        or ROOT.joinpath(*parts, f"{last}.py").is_file()
        or re.search(rf"^(class|def) {last}\b|^{last}\b.* = ", inside, re.MULTILINE) is not None
    )


def test_the_architecture_names_what_is_there() -> None:
    """Each room is in the table of rooms, and each module that the page names exists."""
    rooms = [path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()]
    text = ARCHITECTURE.read_text()
    listed = re.findall(r"^\| `(\w+)` \|", sections(ARCHITECTURE)["Rooms"], re.MULTILINE)
    assert sorted(listed) == sorted(rooms)
    named = re.findall(rf"`((?:{'|'.join(rooms)})(?:\.\w+)+)`", text)
    assert len(named) > 40
    assert [name for name in named if not exists(name)] == []


def test_error_tree() -> None:
    """The tree drawn in the errors' docstring has every class, below its parent, with its code."""
    drawn: dict[str, tuple[str | None, int | None]] = {}
    ancestors: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ([│├└─ ]*)(\w+)(?: +(\d))?(?:  |$)", line):
            depth = len(match[1]) // 4
            del ancestors[depth:]
            parent = ancestors[-1] if ancestors else None
            drawn[match[2]] = parent, int(match[3]) if match[3] else None
            ancestors.append(match[2])
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.SmartvifError)
    }
    parents: dict[str, str | None] = {
        name: kind.__bases__[0].__name__ for name, kind in classes.items()
    }
    parents["SmartvifError"] = None
    assert {name: parent for name, (parent, _) in drawn.items()} == parents
    codes = {name: code for name, (_, code) in drawn.items() if code is not None}
    assert codes == {name: classes[name].exit_code for name in classes if name != "SmartvifError"}
