"""The simulated host, around a command or a shell."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

import click

from smartvif.cli.output import example
from smartvif.model import checks
from smartvif.model.errors import Failed


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    nic = click.option(
        "--nic",
        default="1x8",
        show_default=True,
        metavar="PFSxVFS",
        help="Size of the SmartNIC; with ',legacy=N' its last N PFs are in legacy mode.",
    )
    guests = click.option(
        "--guests",
        default=0,
        show_default=True,
        type=click.IntRange(0, 16),
        help="Number of machines to boot.",
    )
    hosts = click.option(
        "--hosts",
        default=1,
        show_default=True,
        type=click.IntRange(1, 8),
        help="Number of hosts; the machines and the command are on host1.",
    )
    return nic(guests(hosts(command)))


@click.group()
def sim() -> None:
    """Run commands on a simulated host.

    The real host is not changed.
    """


@sim.command(
    "run",
    context_settings={"ignore_unknown_options": True},
    epilog=example("smartvif sim run --nic 2x4 --guests 2 -- smartvif nic list"),
)
@_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(nic: str, guests: int, hosts: int, command: tuple[str, ...]) -> None:
    """Run COMMAND on a simulated host, which ends with it."""
    _run(nic, guests, hosts, list(command))


@sim.command("shell", epilog=example("smartvif sim shell --guests 2"))
@_options
def shell(nic: str, guests: int, hosts: int) -> None:
    """Start a shell on a simulated host, which ends with it."""
    os.environ["PS1"] = "(simulated host) \\$ "
    _run(nic, guests, hosts, [os.environ.get("SHELL", "/bin/sh")])


@sim.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
    epilog=example("smartvif sim exec vm1 ip addr show"),
)
@click.argument("vm")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--timeout", default=30.0, show_default=True, help="Seconds after which COMMAND is killed."
)
def exec_(vm: str, command: tuple[str, ...], timeout: float) -> None:
    """Run COMMAND in the guest VM of this simulated host.

    The exit code is that of COMMAND.
    """
    from smartvif.sim.guest.console import Console
    from smartvif.sim.host import GUESTS

    code, said = Console(GUESTS / f"{vm}.agent").run(shlex.join(command), timeout)
    sys.stdout.buffer.write(said)
    sys.exit(code)


def _run(nic: str, guests: int, hosts: int, command: list[str]) -> None:
    from smartvif.sim import fleet, host
    from smartvif.sim.nic.nic import NicLayout

    def replace_us() -> int:
        # So that `smartvif` inside is the one that started it, installed or not.
        os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        try:
            os.execvp(command[0], command)  # noqa: S606  (no shell is the point)
        except OSError as error:
            raise Failed(
                f"cannot run '{command[0]}': {error.strerror}", where="sim", hint="is it on PATH?"
            ) from error

    with checks.about("--nic"):
        layout = NicLayout.parse(nic)
    wanted = host.SimulatedHost(nic=layout, guests=guests)
    if hosts == 1:
        sys.exit(host.run(wanted, replace_us))
    others = host.SimulatedHost(nic=layout, visitors=guests)
    all_hosts = [wanted] + [others] * (hosts - 1)
    sys.exit(fleet.run_fleet(all_hosts, lambda made: made.hosts[0].run(replace_us)))
