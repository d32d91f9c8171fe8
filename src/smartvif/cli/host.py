"""Commands for what a host keeps across reboots: its hook of libvirt and its unit of systemd."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartvif.cli.output import example, print_json, print_table, with_format
from smartvif.cli.process import reporting
from smartvif.model.errors import Failed

if TYPE_CHECKING:
    from smartvif.operations.host_files import Installed

_VARIABLES = ("SMARTVIF_CONFIG", "SMARTVIF_STATE_DIR")
_NOTES = (
    "systemctl daemon-reload has systemd read the unit; the next boot does so too",
    "libvirt finds a first hook when it starts: systemctl restart libvirtd, or virtqemud",
)

_with_root: Callable[[Any], Any] = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    show_default=True,
    metavar="DIR",
    help="The root directory of the host's files, as of systemctl.",
)


@click.group()
def host() -> None:
    """Install what makes ports again after a reboot."""


@host.command(epilog=example("smartvif host install --dry-run"))
@_with_root
@click.option("--dry-run", is_flag=True, help="Print what would be written, and change nothing.")
def install(root: Path, dry_run: bool) -> None:
    """Install libvirt's hook and the systemd unit that make ports again after a reboot.

    Each file that is written is printed. Idempotent. A file that smartvif has not installed is
    never overwritten.
    """
    from smartvif.operations import host_files

    written = host_files.install(_files(), root, dry_run=dry_run)
    _print_paths(written)
    if written and not dry_run:
        for note in _NOTES:
            click.echo(f"note: {note}", err=True)


@host.command(epilog=example("smartvif host status"))
@_with_root
@with_format
def status(output: str, root: Path) -> None:
    """Show whether libvirt's hook and the systemd unit are installed, as this command writes them.

    The exit code is 1 if one is not.
    """
    from smartvif.operations.host_files import FileState, states

    found = states(_files(), root)
    if output == "json":
        files = [{"path": path, "state": str(state)} for path, state in found.items()]
        print_json("host-status", {"files": files})
    else:
        print_table(["FILE", "STATE"], found.items(), empty="no files")
    if set(found.values()) != {FileState.INSTALLED}:
        sys.exit(1)


@host.command(epilog=example("smartvif host uninstall"))
@_with_root
def uninstall(root: Path) -> None:
    """Remove libvirt's hook and the systemd unit. Idempotent.

    Each file that is removed is printed. A file that smartvif has not installed stays.
    """
    from smartvif.operations import host_files

    _print_paths(host_files.uninstall(_files(), root))


def _files() -> tuple[Installed, ...]:
    from smartvif.operations.host_files import host_files

    command = shutil.which(sys.argv[0])
    if command is None:
        raise Failed("the command does not find itself", where=sys.argv[0], hint="call it by path")
    variables = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    return host_files(Path(command).absolute(), variables)


def _print_paths(paths: list[str]) -> None:
    with reporting():
        for path in paths:
            click.echo(path)
