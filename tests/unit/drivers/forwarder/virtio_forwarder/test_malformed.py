"""Malformed requests and replies: what the client makes of them, and the simulated daemon."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from smartvif.drivers.forwarder.virtio_forwarder import messages
from smartvif.drivers.forwarder.virtio_forwarder.channel import (
    ForwarderDown,
    ForwarderGone,
    MalformedReply,
)
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
from smartvif.drivers.forwarder.virtio_forwarder.requests import VfBond
from smartvif.drivers.forwarder.virtio_forwarder.state import RelayCpus
from smartvif.model.errors import CannotTell, Failed, Invalid, SmartvifError
from smartvif.sim.virtio_forwarder.relays import Crash, Relays
from smartvif.sim.virtio_forwarder.server import ZmqServer
from smartvif.sim.virtio_forwarder.services import Services
from tests.support.virtio_forwarder import (
    LONG,
    NINE,
    PATH,
    REPLIES,
    REQUESTS,
    VF,
    Act,
    Frames,
    answering,
    failing,
    raw,
)

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
