"""The demonstration, for people and as JSON."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import click

from smartvif.cli import context
from smartvif.cli.output import console, example, print_json, print_table, with_format

if TYPE_CHECKING:
    from smartvif.demo.demo import Result, SwitchRound


@click.command(epilog=example("smartvif demo"))
@with_format
def demo(output: str) -> None:
    """Attach, ping and detach three machines on a simulated host.

    The machines use all three modes, on Open vSwitch and then on the vRouter.
    """
    from smartvif.demo import demo as chain_demo
    from smartvif.sim import host as sim

    def main() -> int:
        result = chain_demo.demonstrate(context.host(), _tick)
        if output == "json":
            print_json("demo", result.as_json())
        else:
            _print(result)
        return 0 if result.complete else 1

    logging.getLogger("smartvif.sim").setLevel(logging.INFO)
    logging.getLogger("smartvif.sim").addHandler(_Ticks())
    logging.getLogger("smartvif.sim").propagate = False
    sys.exit(sim.run(chain_demo.HOST, main))


class _Ticks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _tick(record.getMessage())


def _tick(step: str) -> None:
    """Progress is not data: stderr."""
    click.echo(f" ✓ {step}", err=True)


def _print(result: Result) -> None:
    for shown in result.rounds:
        _print_round(shown)
    if result.leftovers:
        click.echo("\nleft behind: " + "; ".join(result.leftovers))
    else:
        click.echo("\nnothing is left behind")


def _print_round(shown: SwitchRound) -> None:
    from smartvif.cli.map_tree import tree

    guests = [port.facts for port in shown.attached]
    columns = ["machine", "mode", "switch", "simulated"]
    rows = [(f.vm, f.mode, f.switch, ", ".join(f.simulated) or None) for f in guests]
    print_table(columns, rows, empty="")
    answered = {(ping.source, ping.target): f"{ping.received}/{ping.sent}" for ping in shown.pings}
    names = [f.vm for f in guests]
    print_table(
        ["ping from", *(f"to {name}" for name in names)],
        [(source, *(answered.get((source, target)) for target in names)) for source in names],
        empty="",
    )
    console().print(tree(shown.map))
