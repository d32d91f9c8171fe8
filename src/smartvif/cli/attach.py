"""Commands that change something: attach, detach, reconcile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from smartvif.cli import context
from smartvif.cli.candidates import candidates_json, print_candidates
from smartvif.cli.output import print_json, with_format
from smartvif.model import checks
from smartvif.model.pci import PciAddress

if TYPE_CHECKING:
    from smartvif.choose.selection.explain import Candidate

_MODES = ["normal", "direct", "virtio-forwarder"]
_SWITCHES = ["ovs", "vrouter"]
_NUMA = ["required", "socket", "legacy", "preferred"]


@click.command()
@click.option("--vm", required=True, help="The machine, as libvirt calls it.")
@click.option("--mode", required=True, type=click.Choice(_MODES), help="How it gets its port.")
@click.option(
    "--switch", type=click.Choice(_SWITCHES), default="ovs", show_default=True, help="Which one."
)
@click.option("--bridge", help="Open vSwitch: the bridge.")
@click.option("--network", help="The vRouter: the virtual network, a UUID.")
@click.option("--vlan", type=int, help="Open vSwitch: the VLAN the port is in.")
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
    default="preferred",
    show_default=True,
    help="How near the VF must be to the machine.",
)
@click.option("--explain", is_flag=True, help="Say of every VF why it was not taken.")
@with_format
def attach(
    output: str, mode: str, switch: str, vf: str | None, explain: bool, **asked: Any
) -> None:
    """Attach a machine to a switch; prints the new port's identifier."""
    from smartvif.model.needs import Needs
    from smartvif.model.port_spec import Mode, PortSpec
    from smartvif.model.switch import Switch
    from smartvif.operations.ports.attach import attach as chain_attach

    with checks.about("--vf"):
        address = None if vf is None else PciAddress.parse(vf)
    capabilities = tuple(asked.pop("capability"))
    needs = {key: asked.pop(key) for key in ("physical_network", "trusted", "min_rate", "numa")}
    request = PortSpec(
        mode=Mode(mode),
        switch=Switch(switch),
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
        print_json("attach", {"id": record.id, "vf": record.vf, **record.facts, **found})
    else:
        click.echo(record.id)
        for part in record.facts["simulated"]:
            click.echo(f"note: the {part} of this port is simulated", err=True)


@click.command()
@click.argument("port")
@with_format
def detach(output: str, port: str) -> None:
    """Detach PORT, given by its identifier or the beginning of it."""
    from smartvif.operations.ports.detach import detach as chain_detach

    record = chain_detach(port, context.host())
    if output == "json":
        print_json("detach", {"id": record.id, "vf": record.vf, **record.facts})


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_format
def reconcile(output: str, dry_run: bool) -> None:
    """Undo what a crash left half done, and mend what holds no more."""
    from smartvif.operations.reconcile import reconcile as chain_reconcile

    concerned = chain_reconcile(context.host(), dry_run=dry_run)
    if output == "json":
        print_json("reconcile", {"dry_run": dry_run, "ports": concerned})
    else:
        for port, action in concerned.items():
            click.echo(f"{port}  {action}")
