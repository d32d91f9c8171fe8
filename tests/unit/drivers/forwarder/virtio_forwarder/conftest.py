"""The simulated virtio-forwarder, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartvif.drivers.virtio_forwarder import VirtioForwarder
from smartvif.sim.virtio_forwarder.relays import Relays
from smartvif.sim.virtio_forwarder.server import Server
from tests.support.virtio_forwarder import LONG


@pytest.fixture
def relays() -> Relays:
    return Relays(number=4, cores=(1, 2, 5), pins={3: (5, 2)})


@pytest.fixture
def server(tmp_path: Path, relays: Relays) -> Iterator[Server]:
    running = Server(tmp_path, relays)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def forwarder(server: Server) -> VirtioForwarder:
    return VirtioForwarder(server.directory, timeout=LONG)
