"""The client of virtio-forwarder, against the simulated one and against servers that err."""

from __future__ import annotations

import errno
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import zmq

from smartvif.drivers.forwarder.virtio_forwarder import messages
from smartvif.drivers.forwarder.virtio_forwarder.channel import (
    ForwarderDown,
    ForwarderGone,
    ForwarderSilent,
    MalformedReply,
)
from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.errors import MEANINGS, ForwarderFailed
from smartvif.drivers.forwarder.virtio_forwarder.messages import (
    CONFIG,
    CORE_SCHED,
    PORT_CONTROL,
    SERVICES,
    STATS,
    PortControlOp,
    Service,
)
from smartvif.drivers.forwarder.virtio_forwarder.requests import BondMode, VfBond
from smartvif.drivers.forwarder.virtio_forwarder.state import RelayCpus
from smartvif.model.errors import CannotTell, Failed, Invalid, SmartvifError, TimedOut
from smartvif.model.pci import PciAddress
from smartvif.sim.virtio_forwarder.relays import Crash, Fault, Relays, SimulatedRelay, VfState
from smartvif.sim.virtio_forwarder.server import ZmqServer
from smartvif.sim.virtio_forwarder.services import Services

# With a letter, which the daemon writes in capitals, and without.
VF = PciAddress.parse("0000:0a:1f.3")
PLAIN_VF = PciAddress.parse("0000:05:08.1")
OTHER_VF = PciAddress.parse("0000:05:08.2")
BOND = VfBond(name="net_bonding0", vfs=(PLAIN_VF, OTHER_VF), mode=BondMode.LACP)
PATH, OTHER_PATH = "/run/a.sock", "/run/b.sock"
LONG = 60.0  # seconds that no test waits for, unless it hangs

Frames = list[bytes]
Answer = Callable[[Service, Frames], Frames | None]


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


@contextmanager
def answering(directory: Path, answer: Answer) -> Iterator[None]:
    """A server that sends whatever frames ``answer`` gives for those of a request, or none."""
    with zmq.Context() as context:
        end = context.socket(zmq.PAIR)
        end.bind("inproc://end")
        # Threads are given sockets of their own that are bound here, so that it listens at once.
        bound = {}
        for service in SERVICES:
            channel = context.socket(zmq.ROUTER)
            channel.linger = 0
            channel.bind(f"ipc://{directory / service.name}")
            bound[channel] = service

        def run() -> None:
            ended = context.socket(zmq.PAIR)
            ended.connect("inproc://end")
            poller = zmq.Poller()
            for channel in (*bound, ended):
                poller.register(channel, zmq.POLLIN)
            while (ready := dict(poller.poll())) and ended not in ready:
                for channel in ready:
                    sender, *request = channel.recv_multipart()
                    reply = answer(bound[channel], request)
                    if reply is not None:
                        channel.send_multipart([sender, *reply])
            for channel in (*bound, ended):
                channel.close(linger=0)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            end.send(b"")
            thread.join()
            end.close(linger=0)


@contextmanager
def recording(directory: Path, relays: Relays) -> Iterator[list[tuple[str, Frames]]]:
    """The simulated daemon's answers, and each request that it got."""
    services, seen = Services(relays), []

    def answer(service: Service, frames: Frames) -> Frames:
        seen.append((service.name, frames))
        return [b"", services.respond(service, frames[-1])]

    with answering(directory, answer):
        yield seen


def failing(code: int | None, source: str = "") -> AbstractContextManager[Any]:
    """Expect the daemon's refusal with this number."""

    @contextmanager
    def expect() -> Iterator[None]:
        with pytest.raises(ForwarderFailed) as caught:
            yield
        assert caught.value.code == code
        if source:
            assert caught.value.source == source
            assert source in str(caught.value)

    return expect()


# Derived by hand from numbers and types of the fields: key = number << 3 | type, where 0 is a
# number and 2 has a length. The VF is 08 00 (domain), 10 0a (bus), 18 1f (slot), 20 03 (function).
REQUESTS: list[tuple[Callable[[VirtioForwarder], Any], str, str]] = [
    (lambda f: f.add(2, VF), "port_control", "0800 1208 0800100a181f2003 1802 2001"),
    (
        lambda f: f.remove(2, VF, conditional=True),
        "port_control",
        "0801 1208 0800100a181f2003 1802 2001",
    ),
    (
        # 0x10000 is 80 80 04 in groups of seven bits.
        lambda f: f.add(1, PciAddress.parse("10000:01:00.0"), conditional=False),
        "port_control",
        "0800 120a 08808004100118002000 1801 2000",
    ),
    (
        lambda f: f.add(1, BOND),
        "port_control",
        "0800 1208 0800100518082001 1208 0800100518082002 1801 2001"
        " 2a0c6e65745f626f6e64696e6730 3004",
    ),
    (
        lambda f: f.remove(1, "net_bonding0"),
        "port_control",
        "0801 1801 2001 2a0c6e65745f626f6e64696e6730",
    ),
    (
        lambda f: f.add_sock("/s", VF, conditional=False),
        "port_control",
        "0802 1208 0800100a181f2003 2000 3a022f73",
    ),
    (
        lambda f: f.add_sock("/s", BOND),
        "port_control",
        "0802 1208 0800100518082001 1208 0800100518082002 2001"
        " 2a0c6e65745f626f6e64696e6730 3004 3a022f73",
    ),
    (
        lambda f: f.remove_sock("/s", VF),
        "port_control",
        "0803 1208 0800100a181f2003 2001 3a022f73",
    ),
    (
        lambda f: f.remove_sock("/s", "net_bonding0"),
        "port_control",
        "0803 2001 2a0c6e65745f626f6e64696e6730 3a022f73",
    ),
    (lambda f: f.query_pci("/run/a.sock"), "port_control", "0804 3a0b2f72756e2f612e736f636b"),
    (lambda f: f.statistics(), "stats", "1001 1800"),
    (
        # 300 is ac 02 and 200 is c8 01; the numbers of relays are packed.
        lambda f: f.statistics([1, 300], include_inactive=False, delay_ms=200),
        "stats",
        "0a0301ac02 1000 18c801",
    ),
    (lambda f: f.config(), "config", ""),
    (lambda f: f.eal_cores(), "core_sched", "0801"),
    (
        lambda f: f.update([RelayCpus(relay=3, to_vm=1, to_vf=2)]),
        "core_sched",
        "0800 1206 080310011802",
    ),
]


@pytest.mark.parametrize(("act", "service", "expected"), REQUESTS)
def test_request_bytes(
    act: Callable[[VirtioForwarder], Any],
    service: str,
    expected: str,
    tmp_path: Path,
    relays: Relays,
) -> None:
    """Each request is, byte for byte, what the daemon's protocol says, in one frame after none."""
    relays.add_socket(PATH, ["0000:05:09.0"], None, conditional=True)
    with recording(tmp_path, relays) as seen:
        act(VirtioForwarder(tmp_path, timeout=LONG))
    assert (service, [b"", bytes.fromhex(expected)]) in seen


REPLIES: list[tuple[Service, str, str]] = [
    # An unknown operation; status is field 4.
    (PORT_CONTROL, "0809", "2000"),
    (PORT_CONTROL, "ff", "2000"),
    (PORT_CONTROL, "0802 1208 0800100518082001 3a022f73", "2001"),
    # -1 has ten bytes; the function's name has 26.
    (
        PORT_CONTROL,
        "0802",
        "2000 28ffffffffffffffffff01 321a" + b"virtio_add_sock_dev_pair()".hex(),
    ),
    (PORT_CONTROL, "0804 3a022f78", "2000 2802 3212 76697274696f5f71756572795f7063692829"),
    (CONFIG, "", "0800 2a06 080310051802"),
    (CONFIG, "ff", "089003"),
    (STATS, "ff", "089003"),
    (STATS, "0a050001020303", "089d03"),
    (CORE_SCHED, "0801", "2001 3801 3802 3805"),
    (CORE_SCHED, "0800", "2000"),
]


@pytest.mark.parametrize(("service", "request_", "expected"), REPLIES)
def test_reply_bytes(service: Service, request_: str, expected: str, relays: Relays) -> None:
    """The simulated daemon answers byte for byte as the real one."""
    reply = Services(relays).respond(service, bytes.fromhex(request_))
    assert reply.hex() == expected.replace(" ", "")


def test_relay_bytes(relays: Relays) -> None:
    """A relay's state with a VF and no machine, field by field."""
    relays.add("0000:0A:1F.3", 0, conditional=True)
    relays.all[0].to_vm.packets, relays.all[0].to_vm.bytes = 3, 300
    reply = Services(relays).respond(STATS, bytes.fromhex("0a0100"))
    zeros = "".join(f"{key:02x}00000000" for key in (0x5D, 0x65, 0x6D, 0x75))
    up = (f"0801 120a{b'DPDK_ADDED'.hex()} 1803 20ac02 2803 30ac02 3800 4800 {zeros}").replace(
        " ", ""
    )
    down = f"0800 120d{b'VIRTIO_UNINIT'.hex()} {zeros}".replace(" ", "")
    state = (
        "0800 1000 2202 0801 2a06 0a04 4e4f4e45"
        f" 320e 0a0c {b'0000:0A:1F.3'.hex()}"
        f" 3a{len(up) // 2:02x} {up} 42{len(down) // 2:02x} {down} 4800"
    ).replace(" ", "")
    assert reply.hex() == f"080012{len(state) // 2:02x}{state}"


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


def add_vf(forwarder: VirtioForwarder) -> None:
    forwarder.add(0, PLAIN_VF, conditional=False)


def add_bond(forwarder: VirtioForwarder) -> None:
    forwarder.add(0, BOND)


def add_pair(forwarder: VirtioForwarder) -> None:
    forwarder.add_sock(PATH, PLAIN_VF, conditional=False)


def remove_vf(forwarder: VirtioForwarder) -> None:
    forwarder.remove(0, PLAIN_VF, conditional=False)


def remove_pair(forwarder: VirtioForwarder) -> None:
    forwarder.remove_sock(PATH, PLAIN_VF, conditional=False)


def fill(forwarder: VirtioForwarder) -> None:
    for index in range(4):
        forwarder.add_sock(f"/{index}", PciAddress.parse(f"0000:01:00.{index}"))


Act = Callable[[VirtioForwarder], Any]
Refusal = tuple[PortControlOp, int, Sequence[Act], set[Fault], Act]
CODES: list[Refusal] = [
    (PortControlOp.ADD, 1, [], set(), lambda f: f.add(4, VF)),
    (PortControlOp.ADD, 1, [], {Fault.START}, add_vf),
    (PortControlOp.ADD, 2, [], {Fault.PROBE}, add_vf),
    (PortControlOp.ADD, 4, [], {Fault.CONFIGURE}, add_vf),
    (PortControlOp.ADD, 5, [], {Fault.RX_QUEUE}, add_vf),
    (PortControlOp.ADD, 6, [], {Fault.TX_QUEUE}, add_vf),
    (PortControlOp.ADD, 8, [add_vf], set(), add_vf),
    (PortControlOp.ADD, 8, [add_vf], set(), lambda f: f.add(0, OTHER_VF)),
    (PortControlOp.ADD, -1, [], {Fault.NO_BONDS}, add_bond),
    (PortControlOp.ADD, 1, [], set(), lambda f: f.add(4, BOND)),
    (PortControlOp.ADD, 2, [lambda f: f.add(1, BOND)], set(), add_bond),
    (PortControlOp.ADD, 3, [lambda f: f.add(1, PLAIN_VF)], set(), add_bond),
    (PortControlOp.ADD, 4, [], {Fault.CONFIGURE}, add_bond),
    (PortControlOp.ADD, 5, [], {Fault.PROBE}, add_bond),
    (PortControlOp.ADD, 6, [], {Fault.START}, add_bond),
    (PortControlOp.ADD, 8, [add_vf], set(), add_bond),
    (PortControlOp.REMOVE, 1, [], set(), lambda f: f.remove(4, VF)),
    (PortControlOp.REMOVE, 3, [add_vf], set(), lambda f: f.remove(0, OTHER_VF)),
    (PortControlOp.REMOVE, 4, [], set(), remove_vf),
    (PortControlOp.REMOVE, 5, [add_vf], {Fault.STUCK}, remove_vf),
    (PortControlOp.ADD_SOCK, -17, [add_vf], set(), add_pair),
    (PortControlOp.ADD_SOCK, -17, [add_pair], set(), add_pair),
    (PortControlOp.ADD_SOCK, -17, [add_pair], set(), lambda f: f.add_sock(OTHER_PATH, PLAIN_VF)),
    (PortControlOp.ADD_SOCK, 1, [add_pair], set(), lambda f: f.add_sock(PATH, OTHER_VF)),
    (PortControlOp.ADD_SOCK, 2, [fill], set(), add_pair),
    (PortControlOp.ADD_SOCK, 3, [], {Fault.PROBE}, add_pair),
    (PortControlOp.ADD_SOCK, 4, [], {Fault.PROBE}, lambda f: f.add_sock(PATH, BOND)),
    (PortControlOp.ADD_SOCK, 5, [], {Fault.REGISTER}, add_pair),
    (PortControlOp.REMOVE_SOCK, 1, [], set(), remove_pair),
    (PortControlOp.REMOVE_SOCK, 1, [add_pair], set(), lambda f: f.remove_sock("/x", PLAIN_VF)),
    (PortControlOp.REMOVE_SOCK, 2, [add_pair], set(), lambda f: f.remove_sock(PATH, OTHER_VF)),
    (PortControlOp.REMOVE_SOCK, 4, [add_pair], {Fault.STUCK}, remove_pair),
    (PortControlOp.QUERY_PCI, 2, [], set(), lambda f: f.query_pci(PATH)),
]
SOURCES = {
    PortControlOp.ADD: {"virtio_forwarder_add_vf2()", "virtio_forwarder_bond_add()"},
    PortControlOp.REMOVE: {"virtio_forwarder_remove_vf2()"},
    PortControlOp.ADD_SOCK: {"virtio_add_sock_dev_pair()"},
    PortControlOp.REMOVE_SOCK: {"virtio_remove_sock_dev_pair()"},
    PortControlOp.QUERY_PCI: {"virtio_query_pci()"},
}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row[0].name}-{row[1]}-{n}") for n, row in enumerate(CODES)]
)
def test_refusals(row: Refusal, forwarder: VirtioForwarder, relays: Relays) -> None:
    """Each of the daemon's numbers comes out as it is, with its function and what it means."""
    op, code, before, faults, act = row
    for each in before:
        each(forwarder)
    if Fault.START in faults:
        # A VF is started only where a machine waits for it.
        relays.all[0].socket = "/machine"
        relays.connect_vm("/machine")
    relays.faults |= faults
    with pytest.raises(ForwarderFailed) as caught:
        act(forwarder)
    assert caught.value.code == code
    assert caught.value.source in SOURCES[op]
    assert MEANINGS[op][code] in str(caught.value)
    assert isinstance(caught.value, Failed)
    assert caught.value.where.startswith("ipc://")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("2000", None),
        ("2000 28efffffffffffffffff01 3201 78", -17),
        ("2000 2863 3201 78", 99),
    ],
)
def test_refusals_of_other_kinds(reply: str, code: int | None, tmp_path: Path) -> None:
    """A refusal without a number, with a negative and with an unknown one is a refusal too."""
    with (
        answering(tmp_path, lambda *_: [b"", bytes.fromhex(reply)]),
        failing(code),
    ):
        VirtioForwarder(tmp_path, timeout=LONG).query_pci(PATH)


@pytest.mark.parametrize(("reply", "code"), [("089003", 400), ("089d03", 413), ("08f403", 500)])
def test_refusals_to_tell(reply: str, code: int, tmp_path: Path) -> None:
    """Statistics that the daemon does not give are an error, not an empty list."""
    with answering(tmp_path, lambda *_: [b"", bytes.fromhex(reply)]), failing(code):
        VirtioForwarder(tmp_path, timeout=LONG).statistics()


def test_too_many_relays(forwarder: VirtioForwarder) -> None:
    """More numbers than there are relays is the daemon's own error."""
    with failing(413):
        forwarder.statistics([0, 1, 2, 3, 3])


def test_half_removed_socket(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A relay that lost its socket and kept its VF: the VF is taken away as well."""
    forwarder.add_sock(PATH, VF)
    relays.faults.add(Fault.UNREGISTER)
    forwarder.remove_sock(PATH, VF, conditional=False)
    assert all(each.idle and each.socket is None for each in forwarder.statistics())
    relays.faults.clear()
    forwarder.add_sock(PATH, VF)


def test_half_removed_earlier(forwarder: VirtioForwarder, relays: Relays) -> None:
    """What somebody else left half removed is taken away, and by no act that ends the daemon."""
    forwarder.add(1, VF)
    forwarder.remove_sock(PATH, VF)
    assert all(each.idle for each in forwarder.statistics())


def test_unclosed_device(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A device that the daemon let go of with an error is gone, as its statistics have it."""
    relays.faults.add(Fault.CLOSE)
    forwarder.add_sock(PATH, VF)
    forwarder.remove_sock(PATH, VF)
    forwarder.add(1, OTHER_VF)
    forwarder.remove(1, OTHER_VF, conditional=False)
    assert all(each.idle for each in forwarder.statistics())


def test_stuck_relay(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A relay that its CPU does not let go of is an error, also when it is asked for again."""
    forwarder.add_sock(PATH, VF)
    relays.faults.add(Fault.STUCK)
    with failing(4):
        forwarder.remove_sock(PATH, VF)
    with failing(1):
        forwarder.remove_sock(PATH, VF)
    relays.all[0].vf_state = VfState.DPDK_UNINIT
    forwarder.remove_sock(PATH, VF)


def lower(relays: Relays) -> SimulatedRelay:
    """A relay whose VF came with the daemon's configuration, in lower case."""
    relays.add(str(VF), 0, conditional=True)
    relays.all[0].socket = PATH
    return relays.all[0]


def test_addresses_in_lower_case(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A VF that the daemon knows in lower case is the same VF."""
    lower(relays)
    assert forwarder.query_pci(PATH) == VF
    forwarder.add(0, VF)
    forwarder.add_sock(PATH, VF)
    with failing(8):
        forwarder.add(0, VF, conditional=False)
    with failing(2):
        forwarder.remove_sock(PATH, PLAIN_VF)
    forwarder.remove_sock(PATH, VF)
    assert all(each.idle and each.socket is None for each in forwarder.statistics())


def test_taken_vf_with_letters(forwarder: VirtioForwarder) -> None:
    """The daemon overlooks that a VF with letters in its address is taken, and stumbles later."""
    forwarder.add_sock(PATH, VF)
    with failing(3):
        forwarder.add_sock(OTHER_PATH, VF)
    forwarder.add_sock(PATH, VF)


def test_unknown_vf(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A VF that is not there, or not the daemon's to take, is not taken."""
    relays.vfs = {OTHER_VF}
    with failing(3):
        forwarder.add_sock(PATH, VF)
    forwarder.add_sock(PATH, OTHER_VF)


NINE = tuple(PciAddress(0, 1, 0, function % 8) for function in range(9))


@pytest.mark.parametrize(
    "act",
    [
        lambda f: f.add(-1, VF),
        lambda f: f.add(2**32, VF),
        lambda f: f.remove(-1, VF),
        lambda f: f.add(0, VfBond(name="b", vfs=NINE)),
        lambda f: f.add(0, VfBond(name="b", vfs=(VF,))),
        lambda f: f.add(0, VfBond(name="", vfs=BOND.vfs)),
        lambda f: f.add(0, VfBond(name="b" * 20, vfs=BOND.vfs)),
        lambda f: f.remove(0, ""),
        lambda f: f.add_sock("", VF),
        lambda f: f.add_sock("relative", VF),
        lambda f: f.add_sock("/a\0b", VF),
        lambda f: f.add_sock("/\udcff", VF),
        lambda f: f.add_sock("/" + "ä" * 54, VF),
        lambda f: f.remove_sock("/" + "a" * 107, VF),
        lambda f: f.query_pci("x"),
        lambda f: f.statistics([-1]),
        lambda f: f.statistics(range(513)),
        lambda f: f.statistics(delay_ms=-1),
        lambda f: f.update([RelayCpus(relay=-1, to_vm=1, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=4, to_vm=1, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=64, to_vm=1, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=0, to_vm=3, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=0, to_vm=1, to_vf=-1)]),
        lambda f: f.update([RelayCpus(relay=0, to_vm=1, to_vf=1)] * 200),
    ],
)
def test_what_would_hurt_it(act: Act, server: ZmqServer, relays: Relays) -> None:
    """What the daemon does not survive, or takes in silence, is refused and never sent."""
    forwarder = VirtioForwarder(server.directory, timeout=LONG)
    with pytest.raises(Invalid):
        act(forwarder)
    assert server.crash is None
    assert all(each.idle for each in forwarder.statistics())


def test_longest_values(forwarder: VirtioForwarder) -> None:
    """The longest that the daemon has room for is taken, and comes back whole."""
    path, name = "/" + "a" * 106, "b" * 19
    forwarder.add_sock(path, VfBond(name=name, vfs=NINE[:8]))
    assert forwarder.query_pci(path) == name
    forwarder.remove_sock(path, name)


def test_endpoint_that_cannot_be(tmp_path: Path) -> None:
    """A path that is too long for a socket is told of at once."""
    with pytest.raises(Invalid, match="endpoint"):
        VirtioForwarder(tmp_path / ("x" * 108), timeout=LONG).config()


def test_nobody_there(tmp_path: Path) -> None:
    """Where no daemon is, and where one was, nobody is waited for, and nothing is known."""
    (tmp_path / "none").mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "config"))
    stale.close()
    for directory in (tmp_path / "none", tmp_path, tmp_path / "missing"):
        with pytest.raises(ForwarderDown) as caught:
            VirtioForwarder(directory, timeout=LONG).config()
        assert isinstance(caught.value, CannotTell)


def test_back_again(tmp_path: Path) -> None:
    """One client lives through daemons that come and go; what they had in memory is gone."""
    forwarder = VirtioForwarder(tmp_path, timeout=LONG)
    for _ in range(3):
        running = ZmqServer(tmp_path, Relays(number=2))
        running.start()
        assert all(each.idle for each in forwarder.statistics())
        forwarder.add_sock(PATH, VF)
        running.stop()
        with pytest.raises(ForwarderDown):
            forwarder.statistics()


def test_answer_of_one_that_goes(tmp_path: Path) -> None:
    """What a daemon answers before it goes is not lost."""
    forwarder = VirtioForwarder(tmp_path, timeout=LONG)
    listening = threading.Semaphore(0)

    def run() -> None:
        for _ in range(20):
            with zmq.Context() as context, context.socket(zmq.REP) as channel:
                channel.bind(f"ipc://{tmp_path / 'config'}")
                listening.release()
                channel.recv()
                channel.send(b"\x08\x00")
                channel.linger = 1000

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    for _ in range(20):
        listening.acquire()
        assert forwarder.config() == ()
    thread.join()


def test_missing_libraries(forwarder: VirtioForwarder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed, or has no room, is an error that says so."""
    no_room = mock.Mock(side_effect=zmq.ZMQError(errno.EMFILE))
    with monkeypatch.context() as patch:
        patch.setattr(zmq, "Context", no_room)
        with pytest.raises(Failed, match="Too many open files"):
            forwarder.config()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "zmq", None)
        with pytest.raises(Failed, match="pyzmq is not installed") as caught:
            forwarder.config()
    assert "smartvif[virtio-forwarder]" in caught.value.hint
    messages._classes.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "google.protobuf", None)
        with pytest.raises(Failed, match="protobuf"):
            forwarder.config()
    assert forwarder.config()


def test_no_answer(tmp_path: Path) -> None:
    """A daemon that does not answer is given up at the deadline, and an answer too late is lost."""
    held: list[Frames] = []

    def answer(_: Service, frames: Frames) -> Frames | None:
        held.append(frames)
        return None if len(held) == 1 else [b"", bytes.fromhex("2001 3801")]

    with answering(tmp_path, answer):
        with pytest.raises(ForwarderSilent, match="did not answer") as caught:
            VirtioForwarder(tmp_path, timeout=0.05).eal_cores()
        assert isinstance(caught.value, TimedOut)
        assert VirtioForwarder(tmp_path, timeout=LONG).eal_cores() == {1}


def test_late_answer(tmp_path: Path) -> None:
    """The answer to a request that was given up is never taken for that to the next one."""
    release = threading.Event()
    numbers = iter([1, 2])

    def answer(*_: object) -> Frames:
        number = next(numbers)
        if number == 1:
            release.wait(LONG)
        return [b"", bytes([0x20, 1, 0x38, number])]

    with answering(tmp_path, answer):
        with pytest.raises(ForwarderSilent):
            VirtioForwarder(tmp_path, timeout=0.05).eal_cores()
        release.set()
        assert VirtioForwarder(tmp_path, timeout=LONG).eal_cores() == {2}


def test_one_deadline(tmp_path: Path, relays: Relays) -> None:
    """A call of several requests has one deadline for all of them."""
    services = Services(relays)

    def answer(service: Service, frames: Frames) -> Frames | None:
        return None if service is STATS else [b"", services.respond(service, frames[-1])]

    with answering(tmp_path, answer), pytest.raises(ForwarderSilent, match=r"0\.2 s"):
        VirtioForwarder(tmp_path, timeout=0.2).remove_sock(PATH, VF)


def test_one_at_a_time(tmp_path: Path) -> None:
    """Who waits for the answer to somebody else's request waits no longer than its own deadline."""
    asked, release = threading.Event(), threading.Event()

    def answer(*_: object) -> Frames:
        asked.set()
        release.wait(LONG)
        return [b"", b"\x08\x00"]

    with answering(tmp_path, answer):
        forwarder = VirtioForwarder(tmp_path, timeout=0.05)
        # Its deadline is the later by what it asks the daemon to wait.
        slow = threading.Thread(target=lambda: forwarder.statistics(delay_ms=60_000))
        slow.start()
        asked.wait(LONG)
        with pytest.raises(ForwarderSilent, match="the request before"):
            forwarder.statistics()
        release.set()
        slow.join()


def test_many_at_once(forwarder: VirtioForwarder) -> None:
    """Threads may share a client; each gets its own answer."""
    found: list[bool] = []

    def ask(index: int) -> None:
        for _ in range(20):
            (relay,) = forwarder.statistics([index])
            found.append(relay.id == index)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert found == [True] * 80


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64])
def test_other_protocol(words: bytes, tmp_path: Path) -> None:
    """Somebody who listens and speaks no ZeroMQ is no daemon, and holds nobody up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "config"))
        listener.listen()

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(words)

        thread = threading.Thread(target=run)
        thread.start()
        with pytest.raises((ForwarderDown, ForwarderSilent, ForwarderGone)):
            VirtioForwarder(tmp_path, timeout=0.5).config()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_listener_that_takes_nothing(tmp_path: Path) -> None:
    """A daemon that is stopped takes connections and no requests: given up at the deadline."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "config"))
        listener.listen()
        with pytest.raises(ForwarderSilent, match="did not take"):
            VirtioForwarder(tmp_path, timeout=0.05).config()


def raw(directory: Path, service: Service, *frames: bytes) -> None:
    """Send what our client never would, and wait until it is answered or the daemon goes."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as channel:
        channel.linger = 0
        with channel.get_monitor_socket(zmq.EVENT_DISCONNECTED) as events:
            channel.connect(f"ipc://{directory / service.name}")
            channel.send_multipart([b"", *frames])
            poller = zmq.Poller()
            poller.register(channel, zmq.POLLIN)
            poller.register(events, zmq.POLLIN)
            assert poller.poll(int(LONG * 1000))
            channel.disable_monitor()


ADDRESS = bytes.fromhex("1208 0800100518082001")
DEADLY: list[tuple[Service, bytes]] = [
    (PORT_CONTROL, b"\x08\x02" + ADDRESS * 9 + b"\x2a\x01b\x3a\x02/s"),
    (STATS, b"\x10\x01" * 257),
    (CONFIG, b"\x10\x01" * 257),
    # A relay without socket by its device.
    (PORT_CONTROL, b"\x08\x03" + ADDRESS),
]


@pytest.mark.parametrize(("service", "request_"), DEADLY)
def test_deadly_requests(
    service: Service, request_: bytes, server: ZmqServer, relays: Relays
) -> None:
    """What ends the daemon ends the simulated one: all services at once, without an answer."""
    relays.add("0000:05:08.1", 0, conditional=True)
    raw(server.directory, service, request_)
    assert server.ended.wait(LONG)
    assert server.crash


def test_daemon_dies_of_a_request(server: ZmqServer, relays: Relays) -> None:
    """A daemon that dies of our request is not waited for, and whether it did it is unknown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smartvif.drivers.forwarder.virtio_forwarder.requests.MOST_VFS", 9)
        with pytest.raises(ForwarderGone) as caught:
            VirtioForwarder(server.directory, timeout=LONG).add(0, VfBond(name="b", vfs=NINE))
    assert isinstance(caught.value, CannotTell)


def test_overlong_request(server: ZmqServer, forwarder: VirtioForwarder) -> None:
    """What is longer than any of the daemon's buffers loses its sender the connection only."""
    raw(server.directory, PORT_CONTROL, bytes(385))
    with failing(2):
        forwarder.query_pci(PATH)
    assert server.crash is None


def test_request_of_two_frames(server: ZmqServer, forwarder: VirtioForwarder) -> None:
    """A request of two frames ends its service, and no other."""
    raw(server.directory, CONFIG, b"", b"")
    with pytest.raises(ForwarderDown):
        forwarder.config()
    assert forwarder.eal_cores()


def test_silent_refusals(server: ZmqServer) -> None:
    """The simulated core scheduler, too, says yes to CPUs and relays that are not there."""
    services = Services(server.relays)
    for entry in ("080010011863", "08ffffffffffffffffff0110011802", "080410011802"):
        data = bytes.fromhex(entry)
        request = b"\x08\x00\x12" + bytes([len(data)]) + data
        assert services.respond(CORE_SCHED, request) == b"\x20\x01"
    assert services.respond(CORE_SCHED, bytes.fromhex("0800 1206 080510011802")) == b"\x20\x00"


def test_process(tmp_path: Path) -> None:
    """The simulated daemon runs as a process, says what it is, and ends as it should."""
    command = [sys.executable, "-m", "smartvif.sim.virtio_forwarder"]
    arguments = ["--directory", str(tmp_path), "--vf", str(VF)]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("simulated virtio-forwarder: at work")
        forwarder = VirtioForwarder(tmp_path, timeout=LONG)
        forwarder.add_sock(PATH, VF)
        assert len(forwarder.statistics()) == 32
        with failing(3):
            forwarder.add_sock(OTHER_PATH, OTHER_VF)
        raw(tmp_path, STATS, b"\x10\x01" * 257)
        _, words = process.communicate(timeout=LONG)
    assert process.returncode == 1
    assert words.startswith("simulated virtio-forwarder: dead")
    with pytest.raises(ForwarderDown):
        forwarder.config()


def test_process_that_cannot_start(tmp_path: Path) -> None:
    """A directory that cannot be, and a VF that is none, are told of."""
    command = [sys.executable, "-m", "smartvif.sim.virtio_forwarder", "--directory"]
    for arguments, code in (
        (["/dev/null/x"], 1),
        ([str(tmp_path / ("x" * 108))], 1),
        ([str(tmp_path), "--vf", "x"], 2),
    ):
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=LONG, check=False
        )
        assert (done.returncode, done.stderr[:6]) == (code, "error:")


@pytest.mark.parametrize(
    "frames",
    [[b""], [b"\x20\x01"], [b"", b"", b""], [b"x", b"\x20\x01"], [b"\x20\x01", b""], [b""] * 40],
)
def test_frames(frames: Frames, tmp_path: Path) -> None:
    """A reply is one frame after an empty one; anything else is told of at once."""
    with answering(tmp_path, lambda *_: frames), pytest.raises(MalformedReply):
        VirtioForwarder(tmp_path, timeout=LONG).query_pci(PATH)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "2801",
        "2007",
        "2001 3a02fffe",
        "2000 2802 3202fffe",
        "2001 3a05",
        "2001 ff",
        "0800",
    ],
)
def test_malformed_replies(reply: str, tmp_path: Path) -> None:
    """What is no message, lacks its status or has an unknown one, or texts that are none."""
    with (
        answering(tmp_path, lambda *_: [b"", bytes.fromhex(reply)]),
        pytest.raises(MalformedReply) as caught,
    ):
        VirtioForwarder(tmp_path, timeout=LONG).query_pci(PATH)
    assert isinstance(caught.value, Failed)


def test_endless_reply(tmp_path: Path) -> None:
    """A reply of many megabytes is not taken."""
    # A good configuration, but for a field of two megabytes that nobody knows.
    reply = bytes.fromhex("0800 7a 80808001") + bytes(1 << 21)
    with answering(tmp_path, lambda *_: [b"", reply]), pytest.raises(ForwarderGone):
        VirtioForwarder(tmp_path, timeout=LONG).config()


CALLS: list[Act] = [
    lambda f: f.add(0, VF),
    lambda f: f.remove(0, VF),
    lambda f: f.add_sock(PATH, VF),
    lambda f: f.remove_sock(PATH, VF),
    lambda f: f.query_pci(PATH),
    lambda f: f.statistics(),
    lambda f: f.config(),
    lambda f: f.eal_cores(),
    lambda f: f.update([RelayCpus(relay=0, to_vm=1, to_vf=2)]),
]


def valid_replies() -> list[bytes]:
    """Replies of all services, good and bad."""
    relays = Relays(number=4, pins={0: (1, 2)})
    services = Services(relays)
    relays.add_socket(PATH, ["0000:0A:1F.3"], None, conditional=True)
    relays.connect_vm(PATH)
    requests = [
        *((service, text) for service, text, _ in REPLIES),
        (STATS, ""),
        (STATS, "0a0100"),
        (PORT_CONTROL, "0804 3a0b2f72756e2f612e736f636b"),
        (PORT_CONTROL, "0803 3a012f"),
    ]
    return [services.respond(service, bytes.fromhex(text)) for service, text in requests]


def mangled(chance: random.Random, replies: Sequence[bytes]) -> Frames:
    """Frames that may be anything: noise, a reply cut short or changed, another, or many."""
    reply = bytearray(chance.choice(replies))
    match chance.randrange(6):
        case 0:
            reply = bytearray(chance.randbytes(chance.randrange(64)))
        case 1:
            del reply[chance.randrange(len(reply) + 1) :]
        case 2:
            for _ in range(chance.randint(1, 8)):
                if reply:
                    reply[chance.randrange(len(reply))] = chance.randrange(256)
        case 3:
            reply += chance.choice(replies)
        case 4:
            frames = [bytes(chance.choice(replies)) for _ in range(chance.randint(1, 5))]
            return [b"", *frames] if chance.random() < 0.5 else frames
    return [b"", bytes(reply)]


def test_ten_thousand_replies(tmp_path: Path) -> None:
    """Whatever comes back, a call ends with values or with one of our errors, and before long."""
    chance = random.Random(20)  # noqa: S311
    replies = valid_replies()
    sent = 0

    def answer(*_: object) -> Frames:
        nonlocal sent
        sent += 1
        return mangled(chance, replies)

    ends: dict[type, int] = {}
    with answering(tmp_path, answer):
        forwarder = VirtioForwarder(tmp_path, timeout=LONG)
        while sent < 10_000:
            try:
                CALLS[sent % len(CALLS)](forwarder)
                end: type = type(None)
            except SmartvifError as error:
                end = type(error)
            ends[end] = ends.get(end, 0) + 1
    # An answer came each time, so none was waited for in vain.
    assert ends.keys() <= {type(None), ForwarderFailed, MalformedReply, Invalid}
    assert min(ends[type(None)], ends[ForwarderFailed], ends[MalformedReply]) > 100


def test_ten_thousand_requests(relays: Relays) -> None:
    """Whatever it is asked, the simulated daemon answers, or ends as the daemon would."""
    chance = random.Random(20)  # noqa: S311
    services = Services(relays)
    known = [bytes.fromhex(text) for _, _, text in REQUESTS]
    for _ in range(10_000):
        (_, *frames) = [b"", *mangled(chance, known)]
        service = chance.choice(SERVICES)
        try:
            request = messages.decode(service.request, frames[-1])
            if service is STATS and request.delay:
                continue
        except messages.Undecodable:
            pass
        if len(frames[-1]) <= service.longest_request:
            with suppress(Crash):
                messages.decode(service.response, services.respond(service, frames[-1]))
