"""The ``smartvif`` command.

Exit codes: 0 yes or done, 1 no or failed, 2 usage, 3 unknown, 4 refused for safety.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

import click

import smartvif
from smartvif.cli import process
from smartvif.cli.output import log_to_stderr
from smartvif.model.errors import Invalid

_COMMANDS: Mapping[str, str] = {
    "attach": "attach:attach",
    "demo": "demo:demo",
    "detach": "attach:detach",
    "device-spec": "device_spec:device_spec",
    "host": "host:host",
    "libvirt-hook": "libvirt_hook:libvirt_hook",
    "map": "status:map_",
    "migrate": "migrate:migrate",
    "nic": "status:nic",
    "placement": "placement:placement",
    "ports": "status:ports",
    "receive": "migrate:receive",
    "reconcile": "attach:reconcile",
    "show": "status:show",
    "sim": "sim:sim",
}
"""Each command, with its module in this room and its name there."""


class CommandGroup(click.Group):
    """The commands, of which only those are imported that are run or helped with."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all, sorted."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"smartvif.cli.{module}"), name)
        return command


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(smartvif.__version__, prog_name="smartvif")
@click.option("-v", "--verbose", is_flag=True, help="Log what is being done, on stderr.")
def cli(verbose: bool) -> None:
    """Attach virtual machines to a switch through a SmartNIC, and check that the ports work."""
    log_to_stderr(verbose=verbose)


def main() -> None:
    """Run the command; every error of ours becomes a message and an exit code."""
    process.prepare()
    # Not standalone: click itself would turn our errors into tracebacks.
    sys.exit(process.exit_code(lambda: cli.main(standalone_mode=False), _usage_text))


def _usage_text(error: click.UsageError) -> str:
    """click's error in our form."""
    if error.ctx is None or error.message == error.ctx.get_help():
        return error.format_message()  # all that was missing is a command
    command = error.ctx.command_path
    wrong = Invalid(error.format_message(), where=command, hint=f"see: {command} --help")
    return wrong.explained()
