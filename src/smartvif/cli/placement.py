"""Commands for hosts that OpenStack's Placement knows of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from smartvif.cli import context
from smartvif.cli.candidates import pool_json
from smartvif.cli.output import example, print_json, print_table, with_format
from smartvif.model.errors import Invalid, NotFound

if TYPE_CHECKING:
    from smartvif.choose.selection.schedule import HostVerdict
    from smartvif.operations.placement import PortRequirements


@click.group()
def placement() -> None:
    """Publish hosts to OpenStack's Placement, and choose one."""


@placement.command("check", epilog=example("smartvif placement check"))
def placement_check() -> None:
    """Check that Placement cannot allocate one device to two ports."""
    context.host().need_placement().check()
    click.echo("it gives each device to one port")


@placement.command("publish", epilog=example("smartvif placement publish"))
def placement_publish() -> None:
    """Write this host, its switches and its SmartNICs to Placement."""
    from smartvif.operations.placement import publish_host

    for words in publish_host(context.host()):
        click.echo(f"note: {words}", err=True)


@placement.command(
    "schedule",
    epilog=example(
        "smartvif placement schedule --port normal --port direct,capability=HW_NIC_OFFLOAD_RDMA"
    ),
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    required=True,
    metavar="MODE[,KEY=VALUE]...",
    help="One port of the machine, its mode and needs; repeat the option for each port.",
)
@click.option("--explain", is_flag=True, help="Print why each host matches or not.")
@with_format
def placement_schedule(output: str, ports: tuple[str, ...], explain: bool) -> None:
    """Choose the best host for a machine with these ports, and print its name."""
    from smartvif.operations.placement import schedule_host

    decision = schedule_host([_wish(text) for text in ports], context.host())
    best = decision.best
    if output == "json":
        hosts = [_verdict_json(verdict) for verdict in decision.verdicts]
        print_json("placement-schedule", {"host": best and best.name, "hosts": hosts})
    elif best is not None:
        click.echo(best.name)
    if explain and output != "json":
        rows = [(each.name, each.problem or "it is suitable") for each in decision.verdicts]
        print_table(["host", "verdict"], rows, empty="no hosts")
    if best is None:
        raise NotFound("no host is suitable", where="Placement", hint="see --explain")


def _wish(text: str) -> PortRequirements:
    """Raises: Invalid."""
    from smartvif.model.choices import DEFAULT_SWITCH, Mode
    from smartvif.model.needs import Needs
    from smartvif.operations.placement import PortRequirements

    mode, *pairs = text.split(",")
    capabilities: list[str] = []
    found: dict[str, Any] = {}
    switch = DEFAULT_SWITCH
    try:
        for key, _, value in (pair.partition("=") for pair in pairs):
            match key:
                case "capability":
                    capabilities.append(value)
                case "switch":
                    switch = value
                case "physical-network":
                    found["physical_network"] = value
                case "min-rate":
                    found["min_rate"] = int(value)
                case "trusted" if not value:
                    found["trusted"] = True
                case _:
                    raise ValueError(f"unknown key '{key}'")
        needs = Needs(capabilities=frozenset(capabilities), **found)
        return PortRequirements(mode=Mode(mode), switch=switch, needs=needs)
    except ValueError as error:
        raise Invalid(
            f"'{text}' is no port: {error}",
            where="--port",
            hint="like direct,capability=HW_NIC_OFFLOAD_RDMA; modes are"
            f" {', '.join(Mode)}; keys are capability, physical-network, trusted (without a"
            " value), min-rate, switch",
        ) from error


def _verdict_json(verdict: HostVerdict) -> dict[str, Any]:
    """Stable keys; documented in docs/reference/cli.md."""
    selection = verdict.selection
    return {
        "name": verdict.name,
        "problem": verdict.problem,
        "free": verdict.free,
        "ports": [pool_json(choice.pool) for choice in selection.choices] if selection else [],
    }
