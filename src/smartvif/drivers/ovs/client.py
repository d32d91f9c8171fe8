"""A connection to an OVSDB server (RFC 7047) that can wait until ovs-vswitchd has acted.

One kept connection serves any number of threads, with many transactions in flight. It holds no
copy of the database: a plug needs three rows, not the thousands that a replica would fetch. What
it does watch is ``Open_vSwitch.cur_cfg``, by which ovs-vswitchd says how far it has come
(ovs-vswitchd.conf.db(5), "Configuration Sequence Number").
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Any

from smartvif.drivers.ovs.json_stream import JsonStream
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell, Conflict, Failed, Invalid, TimedOut

Op = dict[str, Any]
Row = dict[str, Any]

DATABASE = "Open_vSwitch"
_PATIENCE = 10.0  # seconds for the server to take our answer to its probe
_HINT = "is ovsdb-server running? see: ovs-vsctl show"


class Ovsdb:
    """A client of the server at ``address``: ``unix:PATH`` or ``tcp:HOST:PORT``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._connecting = threading.Lock()
        self._session: _Session | None = None

    def transact(self, ops: list[Op], deadline: Deadline) -> list[Any]:
        """Run ``ops`` as one transaction and return a result for each.

        Raises: Failed with the server's words, Conflict if a ``wait`` does not hold, CannotTell
        if it does not answer.
        """
        return self._connected(deadline).transact(ops, deadline)

    def commit(self, ops: list[Op], deadline: Deadline) -> list[Any]:
        """As transact, and wait until ovs-vswitchd has acted on the change.

        Raises: TimedOut as well, if ovs-vswitchd has not acted by the deadline.
        """
        session = self._connected(deadline)
        results = session.transact([*ops, _BUMP, _READ_BUMPED], deadline)
        if not results[-1]["rows"]:
            raise Failed(
                "the database has not been initialized", where=self.address, hint="ovs-vsctl init"
            )
        session.wait_cur_cfg(results[-1]["rows"][0]["next_cfg"], deadline)
        return results[:-2]

    def close(self) -> None:
        """End the connection; a later call makes a new one."""
        with self._connecting:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _connected(self, deadline: Deadline) -> _Session:
        session = self._session
        if session is not None and session.broken is None:
            return session
        with self._connecting:
            if self._session is None or self._session.broken is not None:
                self._session = _Session(self.address, deadline)
            return self._session


_BUMP: Op = {
    "op": "mutate",
    "table": "Open_vSwitch",
    "where": [],
    "mutations": [["next_cfg", "+=", 1]],
}
_READ_BUMPED: Op = {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}


@dataclass(slots=True)
class _Call:
    """A request under way."""

    answered: threading.Event = field(default_factory=threading.Event)
    reply: dict[str, Any] | None = None


class _Session:
    """One connection while it lasts: a reading thread, and replies handed to who waits."""

    def __init__(self, address: str, deadline: Deadline) -> None:
        self.broken: str | None = None
        self._address = address
        self._ids = itertools.count()
        # Each waiter has an event of its own: waking all for each reply would cost the square.
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._calls: dict[int, _Call] = {}
        self._cur_cfg = -1
        self._watchers: list[tuple[int, threading.Event]] = []
        self._socket = _connect(address, deadline)
        self._reader = threading.Thread(target=self._read, name="ovsdb", daemon=True)
        self._reader.start()
        watch = {"Open_vSwitch": [{"columns": ["cur_cfg"]}]}
        try:
            self._take(self._call("monitor", [DATABASE, "smartvif", watch], deadline) or {})
        except BaseException:
            self.close()
            raise

    def transact(self, ops: list[Op], deadline: Deadline) -> list[Any]:
        results: list[Any] = self._call("transact", [DATABASE, *ops], deadline)
        if not isinstance(results, list):
            raise CannotTell("the answer is not one of OVSDB's", where=self._address, hint=_HINT)
        for op, result in itertools.zip_longest(ops, results):
            if result is not None and "error" in result:
                if op and op["op"] == "wait":
                    raise Conflict(f"the {op['table']} table has changed", where=self._address)
                words = ": ".join(filter(None, (result["error"], result.get("details"))))
                table = op["table"] if op else "commit"
                raise Failed(f"OVSDB refused: {words}", where=f"{self._address} {table}")
        return results

    def wait_cur_cfg(self, wanted: int, deadline: Deadline) -> None:
        reached = threading.Event()
        with self._lock:
            if self._cur_cfg >= wanted:
                return
            self._watchers.append((wanted, reached))
        if self.broken is None:
            reached.wait(deadline.left())
        if self._cur_cfg < wanted:
            if self.broken:
                raise self._lost()
            raise TimedOut(
                f"ovs-vswitchd did not act on the change within {deadline.seconds:g} s",
                where=self._address,
                hint="is ovs-vswitchd running? see its log",
            )

    def close(self) -> None:
        self._break("closed")
        self._reader.join()

    def _call(self, method: str, params: list[Any], deadline: Deadline) -> Any:
        number, call = next(self._ids), _Call()
        self._calls[number] = call
        self._send({"id": number, "method": method, "params": params}, deadline)
        if self.broken is None:
            call.answered.wait(deadline.left())
        self._calls.pop(number, None)
        if call.reply is None:
            if self.broken:
                raise self._lost()
            raise CannotTell(
                f"no answer within {deadline.seconds:g} s", where=self._address, hint=_HINT
            )
        if call.reply.get("error") is not None:
            raise Failed(f"OVSDB refused: {call.reply['error']}", where=self._address)
        return call.reply.get("result")

    def _send(self, message: Row, deadline: Deadline) -> None:
        """Send within the deadline; a message sent in part is the end of the connection."""
        if not self._sending.acquire(timeout=deadline.left()):
            return
        try:
            seconds, fraction = divmod(max(deadline.left(), 0.001), 1)
            limit = struct.pack("ll", int(seconds), int(fraction * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._socket.sendall(json.dumps(message).encode())
        except OSError as error:
            self._break(f"cannot send: {error.strerror or error}")
        finally:
            self._sending.release()

    def _read(self) -> None:
        stream = JsonStream()
        try:
            while data := self._socket.recv(1 << 16):
                for message in stream.feed(data):
                    self._receive(message)
            self._break("the server closed the connection")
        except Exception as error:  # whatever it is, reading has ended: all waiters must know
            self._break(str(error) or repr(error))

    def _receive(self, message: dict[str, Any]) -> None:
        if message.get("method") == "echo":
            echo = {"id": message["id"], "result": message["params"], "error": None}
            self._send(echo, Deadline(_PATIENCE))
        elif message.get("method") == "update":
            self._take(message["params"][1])
        elif call := self._calls.get(message["id"]):
            call.reply = message
            call.answered.set()

    def _take(self, update: Row) -> None:
        for change in update.get("Open_vSwitch", {}).values():
            with self._lock:
                self._cur_cfg = max(self._cur_cfg, change["new"]["cur_cfg"])
                reached = [event for wanted, event in self._watchers if wanted <= self._cur_cfg]
                self._watchers = [each for each in self._watchers if each[0] > self._cur_cfg]
            for event in reached:
                event.set()

    def _break(self, reason: str) -> None:
        self.broken = self.broken or reason
        for call in list(self._calls.values()):
            call.answered.set()
        with self._lock:
            watchers = [event for _, event in self._watchers]
        for event in watchers:
            event.set()
        # shutdown, not only close: it wakes the reading thread, whose buffer closes with it.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _lost(self) -> CannotTell:
        return CannotTell(f"connection lost: {self.broken}", where=self._address, hint=_HINT)


def _connect(address: str, deadline: Deadline) -> socket.socket:
    kind, _, rest = address.partition(":")
    if kind not in {"unix", "tcp"}:
        raise Invalid(
            f"'{address}' is not an OVSDB address",
            where="OVSDB",
            hint="write unix:PATH or tcp:HOST:PORT",
        )
    try:
        end = _connect_unix(rest, deadline) if kind == "unix" else _connect_tcp(rest, deadline)
    except (OSError, ValueError, OverflowError) as error:
        raise CannotTell(f"cannot connect: {error}", where=address, hint=_HINT) from error
    end.settimeout(None)
    return end


def _connect_unix(path: str, deadline: Deadline) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    try:
        end.settimeout(deadline.left())
        end.connect(path)
    except BaseException:
        end.close()
        raise
    return end


def _connect_tcp(rest: str, deadline: Deadline) -> socket.socket:
    host, _, port = rest.rpartition(":")
    end = socket.create_connection((host.strip("[]"), int(port)), deadline.left())
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return end
