"""The PCI options of a nova.conf, read as oslo.config reads them. Pure.

Only what bears on them: one file, sections in any case, options repeated and continued over lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from smartvif.model.errors import Invalid

# Old names go before new ones, wherever they stand (oslo_config/cfg.py, _get_file_value).
_NAMES = (
    ("DEFAULT", "pci_passthrough_whitelist"),
    ("pci", "passthrough_whitelist"),
    ("pci", "device_spec"),
)
_PLACEMENT = ("pci", "report_in_placement")
# oslo.config, types.Boolean.
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no")
# What oslo.config would put another option's value for.
_REFERENCE = re.compile(r"\$(?:\$|(?P<name>[_a-z][._a-z0-9]*|\{[_a-z][._a-z0-9]*\}))", re.I | re.A)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value of a repeated option; ``line`` is the number of its first line."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaPci:
    """The allow-list in the order in which Nova goes through it, and whether Placement is told."""

    entries: tuple[Entry, ...]
    report_in_placement: bool


def read(text: str) -> NovaPci:
    """Read the text of a configuration file.

    Raises: Invalid, naming the line.
    """
    options = list(_options(text))
    entries = tuple(
        Entry(line=entry.line, text=_plain(entry))
        for wanted in _NAMES
        for name, entry in options
        if name == wanted
    )
    placement = [entry for name, entry in options if name == _PLACEMENT]
    return NovaPci(
        entries=entries,
        report_in_placement=bool(placement) and _boolean(placement[-1]),
    )


def _options(text: str) -> Iterator[tuple[tuple[str, str], Entry]]:
    """Every option with its section (oslo_config/iniparser.py)."""
    section, name = "", ""
    line, parts = 0, list[str]()
    for number, raw in enumerate([*text.split("\n"), ""], start=1):
        content = raw.rstrip()
        if content.startswith((" ", "\t")):
            if not name:
                raise Invalid("it continues nothing", where=f"line {number}", hint="take its blank")
            parts.append(content.lstrip())
            continue
        if name:
            yield (section, name), Entry(line=line, text="\n".join(parts))
            name = ""
        if content.startswith("["):
            section = _section(content, number)
        elif content and not content.startswith(("#", ";")):
            if not section:
                raise Invalid(
                    "it is in no section", where=f"line {number}", hint="write [pci] first"
                )
            name, value = _assignment(content, number)
            line, parts = number, [value]


def _section(content: str, number: int) -> str:
    if not content.endswith("]") or len(content) <= 2:
        raise Invalid(f"'{content}' is not a section", where=f"line {number}", hint="write [pci]")
    name = content[1:-1]
    return name if name == "DEFAULT" else name.lower()


def _assignment(content: str, number: int) -> tuple[str, str]:
    match = re.match(r"([^:=]*)[:=](.*)", content)
    if match is None or not match[1].strip():
        raise Invalid(
            f"'{content}' is not an option",
            where=f"line {number}",
            hint="write name = value; further lines of a value begin with a blank",
        )
    value = match[2].strip()
    if value and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return match[1].strip(), value


def _plain(entry: Entry) -> str:
    """The value with its dollar signs as they are meant."""

    def replaced(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        raise Invalid(
            f"'{match[0]}' stands for another option",
            where=f"line {entry.line}",
            hint="write out its value, or $$ for a dollar sign",
        )

    return _REFERENCE.sub(replaced, entry.text.replace(r"\$", "$$"))


def _boolean(entry: Entry) -> bool:
    word = entry.text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise Invalid(
            f"report_in_placement '{entry.text}' is neither true nor false",
            where=f"line {entry.line}",
            hint="write true or false",
        )
    return word in _TRUE
