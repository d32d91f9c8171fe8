"""The way to virtio-forwarder: deadlines, a daemon that goes, many callers, its process."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest
import zmq

from smartvif.drivers.forwarder.virtio_forwarder import messages
from smartvif.drivers.forwarder.virtio_forwarder.channel import (
    ForwarderDown,
    ForwarderGone,
    ForwarderSilent,
)
from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.messages import STATS, Service
from smartvif.model.errors import CannotTell, Failed, Invalid, TimedOut
from smartvif.sim.virtio_forwarder.relays import Relays
from smartvif.sim.virtio_forwarder.server import ZmqServer
from smartvif.sim.virtio_forwarder.services import Services
from tests.support.virtio_forwarder import (
    LONG,
    OTHER_PATH,
    OTHER_VF,
    PATH,
    VF,
    Frames,
    answering,
    failing,
    raw,
)


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
