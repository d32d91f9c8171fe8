"""The command that libvirt's hook runs."""

from __future__ import annotations

import sys

import click

from smartvif.cli import context
from smartvif.cli.output import example, print_errors


@click.command(
    short_help="Make the ports of a machine that starts; for libvirt's hook.",
    epilog=example("smartvif libvirt-hook vm1 prepare begin - < vm1.xml"),
)
@click.argument("machine")
@click.argument("operation")
@click.argument("suboperation")
@click.argument("extra", default="-")
def libvirt_hook(machine: str, operation: str, suboperation: str, extra: str) -> None:
    """Make the ports of a machine that starts, whose XML is on standard input.

    The arguments are those of libvirt's hook for QEMU: MACHINE, OPERATION, SUBOPERATION, EXTRA.
    Only 'prepare begin' does something. libvirt is not used, nothing is printed but errors, and an
    exit code other than 0 keeps the machine from starting.
    """
    if (operation, suboperation) != ("prepare", "begin"):
        return
    from smartvif.operations.guest_start import prepare_start

    report = prepare_start(context.host(), sys.stdin.read())
    print_errors(report.failed)
    for error in report.failed.values():
        sys.exit(error.exit_code)
