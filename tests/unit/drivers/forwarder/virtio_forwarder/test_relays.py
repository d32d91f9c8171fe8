"""Relays of virtio-forwarder: made, seen, counted, moved, taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.requests import VfBond
from smartvif.drivers.forwarder.virtio_forwarder.state import RelayCpus
from smartvif.model.pci import PciAddress
from smartvif.sim.virtio_forwarder.relays import Relays
from smartvif.sim.virtio_forwarder.server import ZmqServer
from tests.support.virtio_forwarder import BOND, LONG, OTHER_PATH, PATH, PLAIN_VF, VF, failing


@pytest.mark.parametrize(("vf", "other"), [(VF, PLAIN_VF), (PLAIN_VF, VF)])
def test_a_relay_comes_and_goes(
    vf: PciAddress, other: PciAddress, forwarder: VirtioForwarder, relays: Relays
) -> None:
    """A relay with a socket is made, seen, used and taken away; each act twice is once."""
    for _ in range(2):
        forwarder.add_sock(PATH, vf)
    assert forwarder.query_pci(PATH) == vf
    relay = forwarder.statistics()[0]
    assert (relay.id, relay.socket, relay.device, relay.active) == (0, PATH, vf, False)
    assert relay.to_vm.cpu in relays.cores
    assert (relay.to_vf.active, relay.to_vf.cpu, relay.to_vf.packets_in) == (False, None, None)
    relays.connect_vm(PATH)
    relays.all[0].to_vf.packets = 7
    relays.all[0].to_vf.dropped = 1
    (relay,) = forwarder.statistics(include_inactive=False)
    assert relay.active
    assert relay.to_vf.state == "VIRTIO_READY"
    assert (relay.to_vf.packets_in, relay.to_vf.packets_out) == (8, 7)
    assert (relay.to_vf.dropped_not_connected, relay.to_vf.dropped_queue_full) == (1, 0)
    for _ in range(2):
        forwarder.remove_sock(PATH, vf)
    assert all(each.idle and each.socket is None for each in forwarder.statistics())
    # Counters are of the relay's number: the next one has them too.
    forwarder.add_sock(OTHER_PATH, other)
    relays.connect_vm(OTHER_PATH)
    assert forwarder.statistics([0])[0].to_vf.packets_out == 7
    relays.disconnect_vm(OTHER_PATH)
    assert not forwarder.statistics([0])[0].to_vf.active


@pytest.mark.parametrize("device", [VF, PLAIN_VF, BOND])
def test_devices_by_number(forwarder: VirtioForwarder, device: PciAddress | VfBond) -> None:
    """A relay that is there already gets a VF or a bond, and loses it; each act twice is once."""
    name = device.name if isinstance(device, VfBond) else device
    forwarder.add(2, device)
    if not isinstance(device, VfBond):
        forwarder.add(2, device)
    assert [each.device for each in forwarder.statistics()] == [None, None, name, None]
    for _ in range(2):
        forwarder.remove(2, name)
    assert all(each.idle for each in forwarder.statistics())


@pytest.mark.parametrize("conditional", [True, False])
def test_bond_with_a_socket(forwarder: VirtioForwarder, conditional: bool) -> None:
    """A bond is a device as a VF is; its VFs are free again when it is gone."""
    forwarder.add_sock(PATH, BOND, conditional=conditional)
    assert forwarder.query_pci(PATH) == "net_bonding0"
    with failing(-17):
        forwarder.add_sock(OTHER_PATH, BOND)
    forwarder.remove_sock(PATH, "net_bonding0", conditional=conditional)
    forwarder.add_sock(PATH, PLAIN_VF)


def test_sockets_from_the_start(tmp_path: Path) -> None:
    """A daemon with a socket for each relay: no VF behind one yet, and none left for another."""
    running = ZmqServer(tmp_path, Relays(number=2, sockets="/tmp/v"))  # noqa: S108
    running.start()
    forwarder = VirtioForwarder(tmp_path, timeout=LONG)
    assert forwarder.query_pci("/tmp/v/virtio-forwarder1.sock") is None  # noqa: S108
    with failing(2, "virtio_add_sock_dev_pair()"):
        forwarder.add_sock(PATH, VF)
    running.stop()


def test_configuration_and_cpus(forwarder: VirtioForwarder, relays: Relays) -> None:
    """Pins are told, pinned relays are where they should be, and a relay can be moved."""
    assert forwarder.config() == (RelayCpus(relay=3, to_vm=5, to_vf=2),)
    assert forwarder.eal_cores() == {1, 2, 5}
    forwarder.add(3, VF)
    assert forwarder.statistics([3])[0].to_vm.cpu == 5
    forwarder.update([RelayCpus(relay=3, to_vm=1, to_vf=5)])
    assert forwarder.statistics([3])[0].to_vm.cpu == 1
    forwarder.update([])
    relays.cores = ()
    with failing(1, "worker core request"):
        forwarder.eal_cores()


def test_rates(forwarder: VirtioForwarder, relays: Relays) -> None:
    """Rates are of what passes while the daemon waits, and of nothing else."""
    forwarder.add_sock(PATH, VF)
    relays.all[0].to_vm.packets = 1000
    (relay,) = forwarder.statistics([0], delay_ms=1)
    assert (relay.to_vm.packets_out, relay.to_vm.packet_rate_out) == (1000, 0.0)
