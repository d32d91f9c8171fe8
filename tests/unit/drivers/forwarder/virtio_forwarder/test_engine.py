"""The daemon virtio-forwarder as an engine, against the simulated one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smartvif.drivers.forwarder.engine import (
    DirectionCounters,
    EngineCapacity,
    ForwarderEngine,
    RelaySpec,
)
from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.engine import VirtioForwarderEngine
from smartvif.drivers.kernel.links import Links
from smartvif.model.errors import CannotTell, Failed, Invalid
from smartvif.model.pci import PciAddress
from smartvif.sim.virtio_forwarder.relays import Relays
from smartvif.sim.virtio_forwarder.server import ZmqServer

ONE = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
TWO = "0d9a1b2c-3e5f-4a5b-8c6d-7e8f90a1b2c4"
LINKS = Links()  # which it needs none of


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory with a short name, because a socket's has 107 bytes."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def relays() -> Relays:
    return Relays(number=2)


@pytest.fixture
def engine(tmp_path: Path, relays: Relays) -> Iterator[ForwarderEngine]:
    server = ZmqServer(tmp_path, relays)
    server.start()
    yield VirtioForwarderEngine(VirtioForwarder(tmp_path, timeout=60.0))
    server.stop()


def spec(directory: Path, port: str = ONE, pci: str = "0000:0a:1f.3") -> RelaySpec:
    address = PciAddress.parse(pci)
    return RelaySpec(port_id=port, socket=f"{directory}/{port}.sock", mtu=1500, pci=address)


def test_a_relay_comes_and_goes(tmp_path: Path, engine: ForwarderEngine, relays: Relays) -> None:
    """Added twice and removed twice; in between all that can be asked of it is answered."""
    asked = spec(tmp_path)
    engine.check_alive()
    assert engine.capacity() == EngineCapacity(relays=0, most=2, hugepages=False)
    for _ in range(2):
        engine.add(asked, LINKS)
        assert engine.matches(asked)
        assert engine.capacity().relays == 1
    assert not engine.matches(replace(asked, pci=PciAddress.parse("0000:0a:1f.4")))
    assert not engine.matches(spec(tmp_path, TWO))
    assert engine.relay_spec(ONE) == replace(asked, mtu=0)
    state = engine.state(ONE)
    assert state == engine.states()[ONE]
    assert state is not None
    assert (state.failure, state.link_up) == (None, False)
    relays.connect_vm(asked.socket)
    connected = engine.state(ONE)
    assert connected is not None
    assert connected.link_up
    assert connected.says["device"] == str(asked.pci)
    assert (engine.relay_spec(TWO), engine.state(TWO), engine.statistics(TWO)) == (None, None, None)
    relays.disconnect_vm(asked.socket)
    Path(asked.socket).touch()
    for _ in range(2):
        engine.remove(asked)
        assert not engine.matches(asked)
        assert not Path(asked.socket).exists()
    assert engine.capacity().relays == 0


def test_statistics(tmp_path: Path, engine: ForwarderEngine, relays: Relays) -> None:
    """Each way is counted, and what is dropped."""
    engine.add(spec(tmp_path), LINKS)
    relays.connect_vm(spec(tmp_path).socket)
    (relay,) = (each for each in relays.all if each.has_vf)
    relay.to_vm.packets, relay.to_vm.bytes, relay.to_vm.dropped = 5, 500, 3
    relay.to_vf.packets, relay.to_vf.bytes, relay.to_vf.dropped = 7, 700, 2
    counted = engine.statistics(ONE)
    assert counted is not None
    assert counted.to_guest == DirectionCounters(packets=5, bytes=500, drops=3)
    assert counted.from_guest.bytes == 700
    assert counted.from_guest.drops == 2


def test_what_it_does_not_take(tmp_path: Path, engine: ForwarderEngine) -> None:
    """A VF with a netdev is refused before the daemon is asked; the daemon's no is an error."""
    netdev = RelaySpec(port_id=ONE, socket=f"{tmp_path}/{ONE}.sock", mtu=1500, netdev="p0v0")
    with pytest.raises(Invalid, match="and not p0v0"):
        engine.add(netdev, LINKS)
    engine.add(spec(tmp_path), LINKS)
    with pytest.raises(Failed, match="could not take the VF"):
        engine.add(spec(tmp_path, TWO), LINKS)
    assert engine.state(TWO) is None


def test_a_daemon_that_was_restarted(tmp_path: Path) -> None:
    """It has forgotten its relays, and gets them again; one that is down cannot tell."""
    asked = spec(tmp_path)
    engine = VirtioForwarderEngine(VirtioForwarder(tmp_path, timeout=60.0))
    with pytest.raises(CannotTell):
        engine.matches(asked)
    for _ in range(2):
        server = ZmqServer(tmp_path, Relays(number=2))
        server.start()
        assert not engine.matches(asked)
        engine.add(asked, LINKS)
        assert engine.matches(asked)
        server.stop()
