"""The commands below a group of click's."""

from __future__ import annotations

from collections.abc import Iterator

import click


def below(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Each command right below ``group``, by its name; it is imported for that where it is lazy."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command
