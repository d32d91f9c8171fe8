"""Commands that only look: ports, show, map, nic."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from smartvif.cli import context
from smartvif.cli.candidates import pool_json
from smartvif.cli.output import (
    console,
    errors_json,
    example,
    print_errors,
    print_json,
    print_table,
    with_format,
)

if TYPE_CHECKING:
    from smartvif.context.host import HostContext
    from smartvif.model.port_facts import PortFacts
    from smartvif.status.nics import PfView
    from smartvif.status.ports import PortList, PortView


@click.command(epilog=example("smartvif ports -f json"))
@with_format
def ports(output: str) -> None:
    """List the ports and compare each with its recorded state.

    Exit code 0 if all hold, 1 if one differs, 3 if the state of one is unknown.
    """
    from smartvif.status import ports

    host = context.host()
    found = ports.views(host.journal, host.drivers)
    if output == "json":
        ports_json = [port.as_json() for port in found.ports]
        print_json("ports", {"ports": ports_json, "damaged": errors_json(found.damaged)})
    else:
        columns = ["port", "machine", "mode", "switch", "switch port", "vf", "mac", "health"]
        print_table(columns, map(_port_row, found.ports), empty="no ports")
    _exit_by(found)


@click.command(epilog=example("smartvif show 175d80b6 --rates"))
@click.argument("port")
@click.option("--rates", is_flag=True, help="Measure the relay's traffic per second.")
@with_format
def show(output: str, port: str, rates: bool) -> None:
    """Show PORT in full and compare it with its recorded state.

    PORT is the port's identifier or the beginning of it. Exit codes are those of smartvif ports.
    """
    from smartvif.status import ports
    from smartvif.status.ports import PortList

    host = context.host()
    name = host.journal.find(port)
    found = ports.detail(name, host.journal, host.drivers, host.domains, rates=rates)
    document = found.as_json()
    if output == "json":
        print_json("show", document)
    else:
        steps = document.pop("steps")
        for key, value in document.items():
            click.echo(f"{key:16} {_plain(value)}")
        click.echo("steps taken")
        for step in steps:
            click.echo(f"  {'✓' if step['done'] else '…'} {step['step']}")
    _exit_by(PortList(ports=(found.view,), damaged={}))


@click.command("map", epilog=example("smartvif map"))
@with_format
def map_(output: str) -> None:
    """Draw the path of every port from PF to machine.

    A path has the PF, the VF, the representor or tap, the switch and the machine.
    """
    from smartvif.cli.map_tree import tree
    from smartvif.status import map as prove_map
    from smartvif.status import ports

    host = context.host()
    listed = ports.views(host.journal, host.drivers)
    print_errors(listed.damaged)
    found = prove_map.build_map(_nics(host), listed.ports)
    if output == "json":
        print_json("map", found.as_json())
    else:
        console().print(tree(found))


@click.group()
def nic() -> None:
    """List SmartNICs and what they can do."""


@nic.command("list", epilog=example("smartvif nic list"))
@with_format
def nic_list(output: str) -> None:
    """List PFs and VFs, with the representor and driver of each VF, and why it is not free."""
    from smartvif.choose.selection.device_use import in_words

    found = _nics(context.host())
    if output == "json":
        print_json("nic-list", {"pfs": [view.as_json() for view in found]})
        return
    rows = [
        (
            f"{view.pf.address}{' (simulated)' if view.pf.simulated else ''}",
            view.pf.eswitch,
            each.vf.address,
            each.vf.number,
            each.vf.netdev,
            each.representor or each.problem,
            each.vf.driver,
            view.pf.numa_node,
            in_words(each.obstacle),
        )
        for view in found
        for each in view.vfs
    ]
    columns = ["pf", "eswitch", "vf", "no", "netdev", "representor", "driver", "numa", "held"]
    print_table(columns, rows, empty="no VFs")


@nic.command("capabilities", epilog=example("smartvif nic capabilities"))
@with_format
def nic_capabilities(output: str) -> None:
    """List the capabilities of the VFs, and how many VFs are free."""
    from smartvif.operations.ports.inventory import read_pools

    pools = read_pools(context.host())
    if output == "json":
        print_json("nic-capabilities", {"pools": [pool_json(pool) for pool in pools]})
        return
    rows = [
        (
            pool.pf,
            f"{pool.free} of {pool.total} {pool.device}s",
            pool.physical_network,
            pool.rate,
            ", ".join(sorted(pool.traits)) or None,
            ", ".join(sorted(pool.unknown)) or None,
            pool.drawback,
        )
        for pool in pools
    ]
    columns = ["pf", "free", "physical network", "kbit/s", "has", "unknown", "drawback"]
    print_table(columns, rows, empty="no VFs")


def _nics(host: HostContext) -> tuple[PfView, ...]:
    from smartvif.host import sriov
    from smartvif.operations.ports.device_users import port_devices
    from smartvif.operations.ports.inventory import read_obstacles
    from smartvif.status import nics

    pfs = sriov.pfs()
    return nics.views(pfs, host.drivers.representors, port_devices(host), read_obstacles(pfs, host))


def _port_row(port: PortView) -> tuple[object, ...]:
    facts = port.facts
    simulated = " (simulated)" if facts.simulated else ""
    return (
        port.id[:8],
        facts.vm,
        f"{facts.mode}{simulated}",
        _switch(facts),
        facts.switch_port,
        port.vf,
        facts.mac,
        f"{port.health}, link down" if port.link_up is False else port.health,
    )


def _switch(facts: PortFacts) -> str:
    from smartvif.switches.registry import title

    if facts.bridge is None:
        return f"{title(facts.switch)} {(facts.network or '')[:8]}"
    vlan = "" if facts.vlan is None else f" vlan {facts.vlan}"
    return f"{facts.bridge}{vlan}"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(each)}" for key, each in value.items()) or "-"
    if isinstance(value, list):
        return "; ".join(str(_plain(each)) for each in value) or "-"
    return "-" if value is None else value


def _exit_by(found: PortList) -> None:
    """Exit with 0 if all ports work, 1 if one does not, 3 if the state of one is unknown."""
    print_errors(found.damaged)
    states = {port.working for port in found.ports}
    if False in states:
        sys.exit(1)
    if None in states or found.damaged:
        sys.exit(3)
