"""The engines of claims, each started, empty, and opened again by every process that uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.claims.offers import OVS
from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import ClaimStore
from smartvif.choose.placement.claims import PlacementClaims
from smartvif.choose.placement.session import adapter
from smartvif.choose.selection.pool import Pool

PATIENCE = 120.0
"""Seconds for one call, and for a whole race."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """An engine: how a process opens it, and how a host is published."""

    open: Callable[[], ClaimStore]
    publish: Callable[[str, Sequence[Pool]], object]


def store(directory: Path) -> Side:
    """Ours, in a file of this directory."""
    path = directory / "claims"
    return Side(open=partial(SqliteClaims, path), publish=SqliteClaims(path).publish)


@contextmanager
def placement(database: str) -> Iterator[Side]:
    """OpenStack's Placement as the tests start it, on a ``mariadb`` or ``postgresql``."""
    # Not at the top: the processes that claim need nothing of it.
    from tests.support import placement_service

    with placement_service.store(database) as where, placement_service.service(where) as running:
        opened = partial(_client, running.url)
        engine = opened()
        yield Side(open=opened, publish=lambda host, pools: engine.publish(host, OVS, pools))


def _client(url: str) -> PlacementClaims:
    way = adapter(url, auth_url="", username="", password="", project="", domain="")
    return PlacementClaims(way, project="bench", user="bench", timeout=PATIENCE)
