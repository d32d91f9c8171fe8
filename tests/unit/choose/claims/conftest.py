"""A store of claims with one host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartvif.choose.claims.sqlite import SqliteClaims
from tests.support.claim_store import CARD, HOST


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is; its directory is not there yet."""
    return tmp_path / "state" / "claims.db"


@pytest.fixture
def claims(path: Path) -> Iterator[SqliteClaims]:
    """The store of one host with a card: a PF, four VFs and a vdpa device."""
    claims = SqliteClaims(path)
    claims.publish(HOST, CARD)
    yield claims
    claims.close()
