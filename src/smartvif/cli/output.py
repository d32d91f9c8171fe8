"""How commands speak: data on stdout, as a table or as JSON; everything else on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from smartvif.model.document import JsonObject
from smartvif.model.errors import SmartvifError

F = TypeVar("F", bound=Callable[..., Any])

with_format: Callable[[F], F] = click.option(
    "-f",
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)


def example(*commands: str) -> str:
    """The epilog of a command's help: commands as they are typed, on lines that are not wrapped."""
    title = "Example" if len(commands) == 1 else "Examples"
    return "\n".join(["\b", f"{title}:", *(f"  {command}" for command in commands)])


def print_json(schema: str, data: JsonObject) -> None:
    """One document, with the schema that its keys follow."""
    json.dump({"schema": f"smartvif.{schema}/1", **data}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def errors_json(errors: Mapping[str, SmartvifError]) -> dict[str, dict[str, str]]:
    """Errors by what they are about."""
    return {
        about: {"what": error.what, "where": error.where, "hint": error.hint}
        for about, error in errors.items()
    }


def print_errors(errors: Mapping[str, SmartvifError]) -> None:
    """Errors on stderr, each with what it is about."""
    for about, error in errors.items():
        click.echo(f"{about}  {error.explained()}", err=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table; None is a dash. ``empty`` is said on stderr where there are no rows."""
    lines = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not lines:
        click.echo(empty, err=True)
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line)
    console().print(table)


def console() -> Any:
    """Rich's console on stdout. It respects NO_COLOR and COLUMNS, and is wide in a pipe."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def log_to_stderr(*, verbose: bool) -> None:
    """Warnings, or with ``verbose`` what is done as well, on stderr."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s" if verbose else "%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    for library in ("pyroute2", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)
