"""Commands that change something: attach, detach, reconcile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from smartvif.cli import context
from smartvif.cli.candidates import candidates_json, print_candidates
from smartvif.cli.output import errors_json, print_errors, print_json, with_format
from smartvif.model import checks
from smartvif.model.needs import Needs, NumaPolicy
from smartvif.model.pci import PciAddress
from smartvif.model.port_spec import DEFAULT_SWITCH, Mode, PortSpec

if TYPE_CHECKING:
    from smartvif.choose.selection.explain import Candidate
    from smartvif.plug.journal import PortRecord

_MODES = [str(mode) for mode in Mode]
_NUMA = [str(policy) for policy in NumaPolicy]


@click.command()
@click.option("--vm", required=True, help="The machine, as libvirt calls it.")
@click.option("--mode", required=True, type=click.Choice(_MODES), help="How it gets its port.")
@click.option(
    "--switch",
    metavar="NAME",
    default=DEFAULT_SWITCH,
    show_default=True,
    help="The switch, one of those that are installed.",
)
@click.option("--bridge", help="The bridge, of a switch that has bridges.")
@click.option("--network", help="The virtual network, a UUID, of a switch that has those.")
@click.option("--vlan", type=int, help="The VLAN that the port is in on its bridge.")
@click.option("--mtu", type=int, help="In bytes; 1500 if not given.")
@click.option("--mac", help="The guest's MAC address; a new one if not given.")
@click.option("--pf", help="Take a VF of this PF: an address or a netdev.")
@click.option("--vf", help="Take this VF: an address.")
@click.option(
    "--capability", multiple=True, metavar="TRAIT", help="The VF must have it; can be repeated."
)
@click.option("--physical-network", help="The VF must be on this one; without it, for tunnels.")
@click.option("--trusted", is_flag=True, help="The guest may change its VF's MAC address.")
@click.option("--min-rate", type=int, default=0, help="Promised to it of its PF, in kbit/s.")
@click.option(
    "--numa",
    type=click.Choice(_NUMA),
    default=str(NumaPolicy.PREFERRED),
    show_default=True,
    help="How near the VF must be to the machine.",
)
@click.option("--explain", is_flag=True, help="Say of every VF why it was not taken.")
@with_format
def attach(
    output: str, mode: str, switch: str, vf: str | None, explain: bool, **asked: Any
) -> None:
    """Attach a machine to a switch; prints the new port's identifier."""
    from smartvif.operations.ports.attach import attach as chain_attach

    with checks.about("--vf"):
        address = None if vf is None else PciAddress.parse(vf)
    capabilities = frozenset(asked.pop("capability"))
    needs = {key: asked.pop(key) for key in ("physical_network", "trusted", "min_rate", "numa")}
    request = PortSpec(
        mode=Mode(mode),
        switch=switch,
        vf=address,
        needs=Needs(capabilities=capabilities, **needs),
        **asked,
    )
    candidates: list[Candidate] = []
    try:
        record = chain_attach(request, context.host(), on_candidates=candidates.extend)
    finally:
        if explain:
            print_candidates(candidates)
    if output == "json":
        found = {"candidates": candidates_json(candidates)} if explain else {}
        print_json("attach", {**port_json(record), **found})
    else:
        click.echo(record.id)
        for part in record.facts.simulated:
            click.echo(f"note: the {part} of this port is simulated", err=True)


@click.command()
@click.argument("port")
@with_format
def detach(output: str, port: str) -> None:
    """Detach PORT, given by its identifier or the beginning of it."""
    from smartvif.operations.ports.detach import detach as chain_detach

    name, record = chain_detach(port, context.host())
    if output == "json":
        print_json("detach", {"id": name} if record is None else port_json(record))


def port_json(record: PortRecord) -> dict[str, object]:
    """A port as attach and detach print it; docs/reference/cli.md has the keys."""
    vf = None if record.vf is None else str(record.vf)
    return {"id": record.id, "vf": vf, **record.facts.as_json()}


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_format
def reconcile(output: str, dry_run: bool) -> None:
    """Undo what a crash left half done, and mend what holds no more."""
    from smartvif.operations.reconcile import reconcile as chain_reconcile

    report = chain_reconcile(context.host(), dry_run=dry_run)
    if output == "json":
        failed = errors_json(report.failed)
        print_json("reconcile", {"dry_run": dry_run, "ports": dict(report.done), "failed": failed})
    else:
        for port, action in report.done.items():
            click.echo(f"{port}  {action}")
    print_errors(report.failed)
    for error in report.failed.values():
        sys.exit(error.exit_code)
