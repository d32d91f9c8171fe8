"""Commands that change something: attach, detach, reconcile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from smartvif.cli import context
from smartvif.cli.candidates import candidates_json, print_candidates
from smartvif.cli.output import errors_json, example, print_errors, print_json, with_format
from smartvif.cli.process import reporting
from smartvif.model import checks
from smartvif.model.choices import DEFAULT_SWITCH, Mode, NumaPolicy

if TYPE_CHECKING:
    from smartvif.choose.selection.explain import Candidate
    from smartvif.plug.journal import PortRecord

_MODES = [str(mode) for mode in Mode]
_NUMA = [str(policy) for policy in NumaPolicy]


@click.command(
    epilog=example(
        "smartvif attach --vm vm1 --mode direct --bridge br-int --vlan 100",
        "smartvif attach --vm vm2 --mode normal --switch vrouter"
        " --network 0e5eb1a2-7c3d-4a52-9f6e-5d0c8b3a1f42",
    )
)
@click.option("--vm", required=True, help="The machine's name in libvirt.")
@click.option(
    "--mode",
    required=True,
    type=click.Choice(_MODES),
    help="A tap, a VF passed through to the guest, or a VF behind the virtio forwarder.",
)
@click.option(
    "--switch",
    metavar="NAME",
    default=DEFAULT_SWITCH,
    show_default=True,
    help="The switch that the port is added to, by its name.",
)
@click.option("--bridge", help="The bridge, on a switch with bridges, such as ovs.")
@click.option("--network", help="The virtual network's UUID, on a switch with those: vrouter.")
@click.option("--vlan", type=int, help="The port's VLAN on its bridge, 1 to 4094.")
@click.option("--mtu", type=int, help="The port's MTU in bytes; 1500 if not given.")
@click.option("--mac", help="The guest's MAC address; a random one if not given.")
@click.option("--pf", help="Take a VF of this PF, given by its PCI address or its netdev.")
@click.option("--vf", help="Take this VF, given by its PCI address.")
@click.option(
    "--capability",
    multiple=True,
    metavar="TRAIT",
    help="Require this capability of the VF, by its name in os-traits; can be repeated.",
)
@click.option(
    "--physical-network",
    help="Require a VF on this physical network; if not given, the network is tunnelled.",
)
@click.option(
    "--trusted",
    is_flag=True,
    help="Require a trusted VF, whose guest may change its MAC address.",
)
@click.option(
    "--min-rate",
    type=int,
    default=0,
    help="Guaranteed bandwidth in kbit/s, counted against the PF's speed.",
)
@click.option(
    "--numa",
    type=click.Choice(_NUMA),
    default=str(NumaPolicy.PREFERRED),
    show_default=True,
    help="The VF's NUMA distance from the machine.",
)
@click.option("--explain", is_flag=True, help="Print why each VF was or was not taken.")
@with_format
def attach(
    output: str, mode: str, switch: str, vf: str | None, explain: bool, **asked: Any
) -> None:
    """Attach a machine to a switch.

    The new port's identifier is printed. Attaching is atomic: if a step fails, the steps before it
    are rolled back.
    """
    from smartvif.model.needs import Needs
    from smartvif.model.pci import PciAddress
    from smartvif.model.port_spec import PortSpec
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
    with reporting():
        if output == "json":
            found = {"candidates": candidates_json(candidates)} if explain else {}
            print_json("attach", {**port_json(record), **found})
        else:
            click.echo(record.id)
    for part in record.facts.simulated if output == "table" else ():
        click.echo(f"note: the {part} of this port is simulated", err=True)


@click.command(epilog=example("smartvif detach 175d80b6"))
@click.argument("port")
@with_format
def detach(output: str, port: str) -> None:
    """Detach PORT from its switch and its machine.

    PORT is the port's identifier or the beginning of it.
    """
    from smartvif.operations.ports.detach import detach as chain_detach

    name, record = chain_detach(port, context.host())
    if output == "json":
        with reporting():
            print_json("detach", {"id": name} if record is None else port_json(record))


def port_json(record: PortRecord) -> dict[str, object]:
    """A port as attach and detach print it; docs/reference/cli.md has the keys."""
    vf = None if record.vf is None else str(record.vf)
    return {"id": record.id, "vf": vf, **record.facts.as_json()}


@click.command(
    short_help="Roll back interrupted operations and repair ports.",
    epilog=example("smartvif reconcile --dry-run"),
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option(
    "--without-libvirt",
    is_flag=True,
    help="Repair attached ports only, and leave machines and interrupted operations as they are.",
)
@with_format
def reconcile(output: str, dry_run: bool, without_libvirt: bool) -> None:
    """Roll back interrupted operations and repair ports that differ from their recorded state.

    Every port is reported; the exit code is that of the first failure.
    """
    from smartvif.operations.reconcile import reconcile as chain_reconcile
    from smartvif.operations.reconcile import restore

    act = restore if without_libvirt else chain_reconcile
    report = act(context.host(), dry_run=dry_run)
    with reporting():
        if output == "json":
            failed = errors_json(report.failed)
            done = {"dry_run": dry_run, "ports": dict(report.done), "failed": failed}
            print_json("reconcile", done)
        else:
            for port, action in report.done.items():
                click.echo(f"{port}  {action}")
    print_errors(report.failed)
    for error in report.failed.values():
        sys.exit(error.exit_code)
