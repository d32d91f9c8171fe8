"""A Placement for the tests of a file, on each of its databases."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from smartvif.choose.claims.store import ClaimStore
from smartvif.choose.placement.claims import PlacementClaims
from tests.support.databases import DATABASES
from tests.support.placement import client
from tests.support.placement_service import Service, Store, service, store


@pytest.fixture(scope="module", params=DATABASES)
def stored(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A database for Placement."""
    with store(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def running(stored: Store) -> Iterator[Service]:
    """A Placement that is set as it must be."""
    with service(stored) as found:
        yield found


@pytest.fixture
def host() -> str:
    """A host that no other test has."""
    return f"host-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def engine(running: Service) -> PlacementClaims:
    """The engine at the Placement that runs."""
    found = client(running.url)
    _: ClaimStore = found
    return found
