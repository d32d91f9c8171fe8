"""Moving a machine to another host: migrate here, receive there."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from smartvif.cli import context
from smartvif.cli.output import example, print_json, print_table, with_format
from smartvif.cli.process import reporting
from smartvif.model.document import JsonObject
from smartvif.model.errors import Invalid, SmartvifError

if TYPE_CHECKING:
    from smartvif.operations.migration.source import MigrationCheck

_VERBS = ["examine", "prepare", "finish", "abandon"]


@click.command(epilog=example("smartvif migrate --vm vm1 --to host2 --check"))
@click.option("--vm", required=True, help="The machine's name in libvirt.")
@click.option("--to", "to", required=True, help="The destination host.")
@click.option("--check", is_flag=True, help="Print what would prevent it, and change nothing.")
@with_format
def migrate(output: str, vm: str, to: str, check: bool) -> None:
    """Migrate a running machine with its ports to another host."""
    from smartvif.operations.migration import source as chain
    from smartvif.operations.migration.peer import RemotePeer

    host = context.host()
    peer = RemotePeer(to, host.settings.migration)
    if check:
        _print_check(chain.check_migration(vm, host, peer), output)
        return
    failed = chain.migrate(vm, host, peer, lambda step: click.echo(f" ✓ {step}", err=True))
    if output == "json":
        with reporting():
            print_json("migrate", {"vm": vm, "to": to, "failed": failed})
    for port, reason in failed.items():
        click.echo(f"error: port {port} is not attached on {to}: {reason}", err=True)
    if failed:
        sys.exit(1)


def _print_check(found: MigrationCheck, output: str) -> None:
    if output == "json":
        ports = [
            {
                "id": port.id,
                "mode": port.mode,
                "transparent": port.transparent,
                "problem": port.problem,
            }
            for port in found.ports
        ]
        print_json("migrate-check", {"vm": found.vm, "problem": found.problem, "ports": ports})
    else:
        if found.problem is not None:
            click.echo(found.problem)
        ways = {True: "moves with the machine", False: "detached here, attached there"}
        rows = [
            (port.id[:8], port.mode, ways[port.transparent], port.problem or "ok")
            for port in found.ports
        ]
        print_table(["port", "mode", "how", "problem"], rows, empty="no ports")
    if not found.ready:
        sys.exit(1)


@click.command(epilog=example("smartvif receive examine < offer.json"))
@click.argument("act", type=click.Choice(_VERBS))
def receive(act: str) -> None:
    """Do the destination's part of a migration: JSON in, JSON out.

    smartvif migrate runs this command on the destination host.
    """
    try:
        print_json("receive", _receive(act))
    except SmartvifError as error:
        from smartvif.model.error_codec import encode

        print_json("error", {**encode(error)})
        raise


def _receive(act: str) -> JsonObject:
    from smartvif.operations.migration import destination as chain
    from smartvif.operations.migration.offer import MachineOffer

    try:
        document: JsonObject = json.load(sys.stdin)
    except ValueError as error:
        raise Invalid(f"it is no JSON: {error}", where="standard input") from error
    offer, host = MachineOffer.from_json(document), context.host()
    answer: JsonObject = {}
    match act:
        case "examine":
            answer = chain.check(offer, host).as_json()
        case "prepare":
            answer = {"interfaces": chain.prepare(offer, host)}
        case "finish":
            answer = {"failed": chain.finish(offer, document["interfaces"], host)}
        case "abandon":
            chain.abandon(offer, host)
    return answer
