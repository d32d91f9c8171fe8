"""A small OVSDB server that answers as a test likes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import struct
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from smartvif.drivers.ovs.client import Op, Ovsdb

Message = dict[str, Any]
SELECT: Op = {"op": "select", "table": "Bridge", "where": [], "columns": ["name"]}
SHORT = 0.3  # seconds that a test waits in vain
LONG = 10.0  # seconds that no test should need


class Client:
    """One connection as the server has it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._text = ""

    def receive(self) -> Message | None:
        """The next message, or None when the client has gone."""
        while True:
            with contextlib.suppress(json.JSONDecodeError):
                message, length = json.JSONDecoder().raw_decode(self._text)
                self._text = self._text[length:]
                return dict(message)
            try:
                data = self.end.recv(1 << 16)
            except OSError:
                return None
            if not data:
                return None
            self._text += data.decode()

    def request(self, method: str) -> Message:
        """The next message, which must call that method."""
        message = self.receive()
        assert message is not None
        assert message["method"] == method
        return message

    def send(self, *parts: bytes) -> None:
        """Send each part when the client has read the one before."""
        for part in parts:
            self.end.sendall(part)
            unread = 1
            while unread:
                (unread,) = struct.unpack("i", fcntl.ioctl(self.end, termios.TIOCOUTQ, b"\0" * 4))
                time.sleep(0.0001)

    def answer(self, request: Message, result: Any) -> None:
        self.end.sendall(reply(request, result))

    def start(self, cur_cfg: int = 0) -> None:
        """Let the client in."""
        self.answer(self.request("monitor"), configuration(cur_cfg))

    def serve(self) -> None:
        """Let it in, then answer every transaction with its own operations, until it goes."""
        self.start()
        while (request := self.receive()) is not None:
            self.answer(request, request["params"][1:])


def reply(request: Message, result: Any) -> bytes:
    # As it is, not in ASCII: ovsdb-server writes UTF-8.
    message = {"id": request["id"], "result": result, "error": None}
    return json.dumps(message, ensure_ascii=False).encode()


def configuration(cur_cfg: int) -> Message:
    """An update of the row that the client watches."""
    return {"Open_vSwitch": {"row": {"new": {"cur_cfg": cur_cfg}}}}


class Server:
    """A server on a socket of its own; ``talk`` is called with each connection."""

    def __init__(self, talk: Callable[[Client], None]) -> None:
        self._talk = talk
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "db.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._ends: list[socket.socket] = []
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._ends)

    def close(self) -> None:
        """End every connection and say what went wrong in the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()
        self._listener.close()
        self._folder.cleanup()
        assert self._failures == []

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                self._ends.append(end)
                self._threads.append(threading.Thread(target=self._guarded, args=(end,)))
                self._threads[-1].start()

    def _guarded(self, end: socket.socket) -> None:
        try:
            self._talk(Client(end))
        except BrokenPipeError:
            pass
        except BaseException as error:
            self._failures.append(error)
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(talk: Callable[[Client], None]) -> Iterator[tuple[Server, Ovsdb]]:
    """A server and a client of it."""
    with (
        contextlib.closing(Server(talk)) as server,
        contextlib.closing(Ovsdb(f"unix:{server.path}")) as database,
    ):
        yield server, database
