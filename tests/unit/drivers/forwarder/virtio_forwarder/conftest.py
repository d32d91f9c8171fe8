"""The simulated virtio-forwarder, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.sim.virtio_forwarder.relays import Relays
from smartvif.sim.virtio_forwarder.server import ZmqServer
from tests.support.virtio_forwarder import LONG


@pytest.fixture
def relays() -> Relays:
    return Relays(number=4, cores=(1, 2, 5), pins={3: (5, 2)})


@pytest.fixture
def server(tmp_path: Path, relays: Relays) -> Iterator[ZmqServer]:
    running = ZmqServer(tmp_path, relays)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def forwarder(server: ZmqServer) -> VirtioForwarder:
    return VirtioForwarder(server.directory, timeout=LONG)
