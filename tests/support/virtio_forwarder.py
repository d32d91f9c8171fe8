"""Answers to the client of virtio-forwarder, its requests and replies as bytes, refusals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.errors import ForwarderFailed
from smartvif.drivers.forwarder.virtio_forwarder.messages import (
    CONFIG,
    CORE_SCHED,
    PORT_CONTROL,
    SERVICES,
    STATS,
    Service,
)
from smartvif.drivers.forwarder.virtio_forwarder.requests import BondMode, VfBond
from smartvif.drivers.forwarder.virtio_forwarder.state import RelayCpus
from smartvif.model.pci import PciAddress
from smartvif.sim.virtio_forwarder.relays import Relays
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
Act = Callable[[VirtioForwarder], Any]
NINE = tuple(PciAddress(0, 1, 0, function % 8) for function in range(9))


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
