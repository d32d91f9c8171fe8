"""The allow-list of PCI devices: written, or explained."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartvif.cli import context
from smartvif.cli.output import example, print_json, print_table, with_format

if TYPE_CHECKING:
    from smartvif.choose.allow_list.report import AllowListReport

_CONFIGURED = Path()


@click.command(
    "device-spec",
    epilog=example("smartvif device-spec", "smartvif device-spec --check /etc/nova/nova.conf"),
)
@click.option(
    "--check",
    "check",
    is_flag=False,
    flag_value=_CONFIGURED,
    type=click.Path(path_type=Path),
    metavar="[FILE]",
    help="Explain the list in FILE, a nova.conf; if not given, the list that smartvif uses.",
)
@with_format
def device_spec(output: str, check: Path | None) -> None:
    """Print or explain Nova's [pci] device_spec for this host."""
    from smartvif.choose.allow_list import report as allow_list
    from smartvif.host import sriov

    if check is None:
        entries = allow_list.generate(sriov.pfs())
        if output == "json":
            print_json("device-spec", {"device_spec": list(entries)})
        else:
            click.echo("[pci]")
            for entry in entries:
                click.echo(f"device_spec = {json.dumps(entry)}")
        return
    file = None if check == _CONFIGURED else check
    report = allow_list.check(file, context.host().settings.pci.device_spec)
    _tell(report, output)
    if report.idle:
        sys.exit(1)


def _tell(report: AllowListReport, output: str) -> None:
    document = report.as_json()
    if output == "json":
        print_json("device-spec-check", document)
    else:
        columns = ["device", "vendor:product", "pf", "netdevs", "allowed by", "why not by others"]
        print_table(columns, map(_row, document["devices"]), empty="no PCI devices")
    source = f"{report.source}, " if report.source else ""
    for warning in report.warnings:
        click.echo(f"warning: {source}{warning}", err=True)
    for spec in report.idle:
        click.echo(f"error: {source}{spec.where}: it matches no device: {spec.text}", err=True)


def _row(device: dict[str, Any]) -> tuple[object, ...]:
    return (
        device["address"],
        f"{device['vendor_id']}:{device['product_id']}",
        device["pf"],
        ", ".join(device["netdevs"]) or None,
        device["entry"],
        "; ".join(f"{each['where']}: {each['reason']}" for each in device["reasons"]) or None,
    )
