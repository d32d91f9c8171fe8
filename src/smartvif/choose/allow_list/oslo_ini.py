"""A configuration file as oslo.config reads it. Pure.

Only what is needed: one file, sections in any case, options repeated and continued over lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from smartvif.model.errors import Invalid

# What oslo.config substitutes by another option's value.
_REFERENCE = re.compile(r"\$(?:\$|(?P<name>[_a-z][._a-z0-9]*|\{[_a-z][._a-z0-9]*\}))", re.I | re.A)


@dataclass(frozen=True, slots=True, kw_only=True)
class IniOption:
    """One value of a repeated option; ``line`` is the number of its first line."""

    line: int
    text: str


def options(text: str) -> Iterator[tuple[tuple[str, str], IniOption]]:
    """Every option by its section and name (oslo_config/iniparser.py).

    Raises: Invalid, naming the line.
    """
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
            yield (section, name), IniOption(line=line, text="\n".join(parts))
            name = ""
        if content.startswith("["):
            section = _section(content, number)
        elif content and not content.startswith(("#", ";")):
            if not section:
                raise Invalid(
                    "it is in no section",
                    where=f"line {number}",
                    hint="write one first, like [pci]",
                )
            name, value = _assignment(content, number)
            line, parts = number, [value]


def _section(content: str, number: int) -> str:
    if not content.endswith("]") or len(content) <= 2:
        raise Invalid(f"'{content}' is not a section", where=f"line {number}", hint="like [pci]")
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


def plain(entry: IniOption) -> str:
    """The value with ``$$`` read as a dollar sign.

    Raises: Invalid, naming the line.
    """

    def replaced(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        raise Invalid(
            f"'{match[0]}' stands for another option",
            where=f"line {entry.line}",
            hint="write out its value, or $$ for a dollar sign",
        )

    return _REFERENCE.sub(replaced, entry.text.replace(r"\$", "$$"))
