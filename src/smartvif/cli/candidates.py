"""How what can be chosen is printed: pools, and the candidates for a port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from smartvif.model.document import JsonObject

if TYPE_CHECKING:
    from smartvif.choose.selection.explain import Candidate
    from smartvif.choose.selection.pool import Pool


def pool_json(pool: Pool) -> JsonObject:
    """Stable keys; documented in docs/reference/cli.md."""
    return {
        "pf": str(pool.pf),
        "netdev": pool.netdev,
        "device": pool.device,
        "total": pool.total,
        "free": pool.free,
        "numa_node": pool.numa_node,
        "physical_network": pool.physical_network,
        "rate": pool.rate,
        "capabilities": sorted(pool.traits),
        "unknown": sorted(pool.unknown),
        "drawback": pool.drawback,
        "held": {str(address): why for address, why in pool.unavailable.items()},
        "no_passthrough": {str(address): why for address, why in pool.no_passthrough.items()},
    }


def candidates_json(candidates: Sequence[Candidate]) -> list[JsonObject]:
    """Stable keys; documented in docs/reference/cli.md."""
    return [
        {
            "port": each.port,
            "address": str(each.address),
            "pf": str(each.pf),
            "reason": each.reason,
        }
        for each in candidates
    ]


def print_candidates(candidates: Sequence[Candidate]) -> None:
    """Say on stderr of every candidate why it was not taken, or that it was."""
    for each in candidates:
        click.echo(f"{each.address}  {each.reason or 'taken'}", err=True)
