"""The host's half of the agent's protocol, against a line that misbehaves."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smartvif.model.errors import CannotTell, TimedOut
from smartvif.sim.guest import console
from smartvif.sim.guest.console import Console


@pytest.fixture
def serve(tmp_path: Path) -> Callable[[Callable[[str], list[bytes]]], Console]:
    """A console whose agent sends, for the request with a name, these pieces and hangs up."""

    def start(answer: Callable[[str], list[bytes]]) -> Console:
        path = tmp_path / "vm1.agent"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def agent() -> None:
            with listener, listener.accept()[0] as line:
                name = line.recv(4096).decode().split()[0]
                for piece in answer(name):
                    line.sendall(piece)

        threading.Thread(target=agent, daemon=True).start()
        return Console(path)

    return start


Serve = Callable[[Callable[[str], list[bytes]]], Console]


def test_pieces(serve: Serve) -> None:
    """A reply that comes byte by byte is whole."""
    line = serve(lambda name: [bytes([byte]) for byte in f"\n@{name} 3 5\nab\ncd".encode()])
    assert line.run("x") == (3, b"ab\ncd")


def test_left_over(serve: Serve) -> None:
    """What is left of an earlier reply is passed over, even if it looks like one."""
    line = serve(lambda name: [b"tail\n@other 0 4\ndata", f"\n@{name} 0 2\nok".encode()])
    assert line.run("x") == (0, b"ok")


def test_guest_ends(serve: Serve) -> None:
    """A guest that ends in the middle of a reply is an error and not a short output."""
    line = serve(lambda name: [f"\n@{name} 0 100\nshort".encode()])
    with pytest.raises(CannotTell, match="the guest ended"):
        line.run("x")


def test_silent_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that never answers is given up at the deadline."""
    monkeypatch.setattr(console, "_GRACE", -0.9)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "vm1.agent"))
        listener.listen()
        with pytest.raises(TimedOut, match="did not answer"):
            Console(tmp_path / "vm1.agent").run("x", timeout=1)


def test_no_guest(tmp_path: Path) -> None:
    """Where there is no socket nobody can tell, and the error names guest and command."""
    with pytest.raises(CannotTell, match="'ls' in guest vm1"):
        Console(tmp_path / "vm1.agent").run("ls")
