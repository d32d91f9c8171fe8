"""The OVSDB client against a small server that answers as it likes."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import socket
import struct
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartvif.drivers.ovs.client import Op, Ovsdb
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell, Conflict, Failed, Invalid, SmartvifError, TimedOut

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


def test_each_operation_has_its_result() -> None:
    """What the server answers to each operation comes back, in order, over one connection."""
    with serving(Client.serve) as (server, database):
        for text in ("one", "two"):
            ops = [{**SELECT, "where": [text]}, SELECT]
            assert database.transact(ops, Deadline(LONG)) == ops
        assert server.connections == 1


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 800), max_size=12), st.permutations(range(4)))
def test_replies_cut_anywhere(texts: list[str], cuts: list[int], order: list[int]) -> None:
    """Replies cut at any byte, several in one piece, in any order: each thread gets its own."""
    results: dict[str, Any] = {}

    def talk(client: Client) -> None:
        client.start()
        requests = [client.request("transact") for _ in texts]
        replies = [reply(request, request["params"][1:]) for request in requests]
        data = b"".join(replies[number] for number in order)
        ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        client.send(*(data[a:b] for a, b in itertools.pairwise(ends)))
        client.receive()

    def ask(number: int) -> None:
        op = {**SELECT, "where": [number, texts[number]]}
        (results[str(number)],) = database.transact([op], Deadline(LONG))

    with serving(talk) as (_, database):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(texts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {
        str(number): {**SELECT, "where": [number, text]} for number, text in enumerate(texts)
    }


def test_every_byte_by_itself() -> None:
    """A reply that comes byte by byte is read, also where characters have several bytes."""
    text = 'zürich 東京 \N{ELECTRIC PLUG} {"}\\'

    def talk(client: Client) -> None:
        client.start()
        data = reply(client.request("transact"), [{"rows": [text]}])
        client.send(*(data[at : at + 1] for at in range(len(data))))
        client.receive()

    with serving(talk) as (_, database):
        assert database.transact([SELECT], Deadline(LONG)) == [{"rows": [text]}]


@pytest.mark.parametrize("after", [b"\n", b" \r\n\t", b'{"id":null,"method":"upd'])
def test_a_reply_is_handed_over_when_it_is_whole(after: bytes) -> None:
    """Neither white space after a reply nor the beginning of another message holds it up."""

    def talk(client: Client) -> None:
        client.start()
        client.end.sendall(reply(client.request("transact"), [{}]) + after)
        client.receive()

    with serving(talk) as (_, database):
        assert database.transact([SELECT], Deadline(1.0)) == [{}]


def test_a_long_reply() -> None:
    """A reply of 7 MB is read in time that grows with its length, not with the square."""
    rows = [{"name": "x" * 50, "values": ["map", [["a", "{}"]]]}] * 80_000

    def talk(client: Client) -> None:
        client.start()
        client.answer(client.request("transact"), [{"rows": rows}])
        client.receive()

    with serving(talk) as (_, database):
        (found,) = database.transact([SELECT], Deadline(LONG))
    assert found["rows"] == rows


def test_replies_to_many_threads_in_the_wrong_order() -> None:
    """With 32 requests under way and the replies backwards, every thread gets its own."""
    results: dict[int, Any] = {}

    def talk(client: Client) -> None:
        client.start()
        requests = [client.request("transact") for _ in range(32)]
        for request in reversed(requests):
            client.answer(request, request["params"][1:])
        client.receive()

    def ask(number: int) -> None:
        results[number] = database.transact([{**SELECT, "where": [number]}], Deadline(LONG))

    with serving(talk) as (server, database):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.connections == 1
    assert results == {number: [{**SELECT, "where": [number]}] for number in range(32)}


def test_an_echo_is_answered() -> None:
    """The server's probe is answered with its own words, in the middle of a transaction too."""
    heard: list[Message | None] = []

    def talk(client: Client) -> None:
        client.start()
        request = client.request("transact")
        client.send(json.dumps({"id": "echo", "method": "echo", "params": [1, "a"]}).encode())
        heard.append(client.receive())
        client.answer(request, [{}])
        client.receive()

    with serving(talk) as (_, database):
        assert database.transact([SELECT], Deadline(LONG)) == [{}]
    assert heard == [{"id": "echo", "result": [1, "a"], "error": None}]


def test_a_reply_that_nobody_waits_for() -> None:
    """An answer after the deadline, and one to no question, do no harm to the next."""
    release = threading.Event()

    def talk(client: Client) -> None:
        client.start()
        late = client.request("transact")
        release.wait(LONG)
        client.answer(late, ["late"])
        client.answer({"id": 4711}, ["unasked"])
        client.answer(client.request("transact"), [{"count": 1}])
        client.receive()

    with serving(talk) as (server, database):
        with pytest.raises(CannotTell, match=r"no answer within 0\.3 s"):
            database.transact([SELECT], Deadline(SHORT))
        release.set()
        assert database.transact([SELECT], Deadline(LONG)) == [{"count": 1}]
        assert server.connections == 1


@pytest.mark.parametrize("start", [True, False])
def test_a_server_that_never_answers(start: bool) -> None:
    """Nobody waits longer than the deadline, and the error names the server and what to look at."""

    def talk(client: Client) -> None:
        if start:
            client.start()
        while client.receive() is not None:
            pass

    with serving(talk) as (server, database):
        began = time.monotonic()
        with pytest.raises(CannotTell, match=r"no answer within 0\.3 s") as caught:
            database.transact([SELECT], Deadline(SHORT))
        assert SHORT - 0.05 < time.monotonic() - began < SHORT + 2.0
        assert caught.value.where == f"unix:{server.path}"
        assert caught.value.hint


def test_a_connection_that_could_not_be_begun_is_closed() -> None:
    """A server that never lets us in sees us go, and no thread is left behind."""
    gone = threading.Event()

    def talk(client: Client) -> None:
        while client.receive() is not None:
            pass
        gone.set()

    before = threading.active_count()
    with serving(talk) as (_, database):
        with pytest.raises(CannotTell):
            database.transact([SELECT], Deadline(SHORT))
        assert gone.wait(2.0)
        assert threading.active_count() <= before + 2


def test_a_server_that_never_reads() -> None:
    """The deadline holds for sending as well, and for those who wait to send."""
    closing = threading.Event()

    def talk(client: Client) -> None:
        client.start()
        closing.wait(LONG)

    big = {**SELECT, "where": ["x" * (1 << 22)]}
    failures: list[SmartvifError] = []

    def ask(op: Op) -> None:
        try:
            database.transact([op], Deadline(SHORT))
        except SmartvifError as error:
            failures.append(error)

    with serving(talk) as (_, database):
        threads = [threading.Thread(target=ask, args=(op,)) for op in (big, big, SELECT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2.0)
        alive = [thread for thread in threads if thread.is_alive()]
        closing.set()
    assert alive == []
    assert [type(error) for error in failures] == [CannotTell] * 3


@pytest.mark.parametrize("sent", [b"", b"{", b'{"id": 1, "result": [{"rows": [{"name": "br'])
def test_a_server_that_closes(sent: bytes) -> None:
    """A reply that is never finished is an error at once, not at the deadline."""

    def talk(client: Client) -> None:
        client.start()
        client.request("transact")
        client.send(sent)
        client.end.shutdown(socket.SHUT_RDWR)

    with serving(talk) as (_, database):
        began = time.monotonic()
        with pytest.raises(CannotTell, match="connection lost: the server closed the connection"):
            database.transact([SELECT], Deadline(LONG))
        assert time.monotonic() - began < LONG / 2


def test_a_server_that_closes_is_told_to_all_who_wait() -> None:
    """Every thread with a request under way hears of a lost connection at once."""
    failures: list[CannotTell] = []

    def talk(client: Client) -> None:
        client.start()
        for _ in range(8):
            client.request("transact")
        client.end.shutdown(socket.SHUT_RDWR)

    def ask() -> None:
        try:
            database.transact([SELECT], Deadline(LONG))
        except CannotTell as error:
            failures.append(error)

    began = time.monotonic()
    with serving(talk) as (_, database):
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(failures) == 8
    assert time.monotonic() - began < LONG / 2


def test_the_connection_is_made_again() -> None:
    """After a loss a call fails at most until it is noticed; then a new connection is made."""

    def talk(client: Client) -> None:
        client.start()
        client.answer(client.request("transact"), [{"count": server.connections}])
        if server.connections == 1:
            client.end.shutdown(socket.SHUT_RDWR)
        else:
            client.receive()

    with serving(talk) as (server, database):
        assert database.transact([SELECT], Deadline(LONG)) == [{"count": 1}]
        try:
            again = database.transact([SELECT], Deadline(LONG))
        except CannotTell:
            again = database.transact([SELECT], Deadline(LONG))
        assert again == [{"count": 2}]


def test_a_closed_client_works_again() -> None:
    """Closing ends the connection, twice is once, and the next call makes a new one."""
    with serving(Client.serve) as (server, database):
        for number in (1, 2):
            assert database.transact([SELECT], Deadline(LONG)) == [SELECT]
            assert server.connections == number
            database.close()
            database.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\xfe\xff",
        b"\x00" * 5000,
        b"{]}",
        b"}",
        b"[]}",
        b'{"id": {}}',
        b"[" * 100_000 + b"}",
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_garbage(garbage: bytes, early: bool) -> None:
    """From something that is no OVSDB server nothing can be told, by the deadline at the latest."""

    def talk(client: Client) -> None:
        if not early:
            client.start()
        client.receive()
        client.end.sendall(garbage)
        while client.receive() is not None:
            pass

    with serving(talk) as (server, database):
        with pytest.raises(CannotTell) as caught:
            database.transact([SELECT], Deadline(SHORT))
        assert caught.value.where == f"unix:{server.path}"


@pytest.mark.parametrize("answer", [{}, {"result": None}, {"result": 5}])
def test_answers_that_make_no_sense(answer: Message) -> None:
    """An answer of another form than OVSDB's tells nothing."""

    def talk(client: Client) -> None:
        client.start()
        client.end.sendall(json.dumps({"id": client.request("transact")["id"], **answer}).encode())
        client.receive()

    with serving(talk) as (_, database), pytest.raises(CannotTell):
        database.transact([SELECT], Deadline(LONG))


def test_a_database_without_its_row() -> None:
    """A database that was never initialized cannot be changed, and the hint says how to mend it."""

    def talk(client: Client) -> None:
        client.answer(client.request("monitor"), {})
        request = client.request("transact")
        client.answer(request, [{}, {"count": 0}, {"rows": []}])
        client.receive()

    with serving(talk) as (_, database), pytest.raises(Failed) as caught:
        database.commit([SELECT], Deadline(LONG))
    assert "ovs-vsctl init" in caught.value.hint


def committing(next_cfg: int, *updates: int, early: bool) -> Callable[[Client], None]:
    """A server that gives a change a number, and tells how far ovs-vswitchd is."""

    def talk(client: Client) -> None:
        client.start(cur_cfg=3)
        request = client.request("transact")
        result = [{}, {"count": 1}, {"rows": [{"next_cfg": next_cfg}]}]
        notes = [
            json.dumps({"id": None, "method": "update", "params": ["smartvif", configuration(n)]})
            for n in updates
        ]
        if not early:
            client.answer(request, result)
        for note in notes:
            client.send(note.encode())
        if early:
            client.answer(request, result)
        client.receive()

    return talk


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("updates", [(5,), (4, 5), (4, 7), (7, 4)])
def test_a_commit_waits_for_the_switch(updates: tuple[int, ...], early: bool) -> None:
    """It returns as soon as ovs-vswitchd is so far, whether that is told before or after."""
    began = time.monotonic()
    with serving(committing(5, *updates, early=early)) as (_, database):
        assert database.commit([SELECT], Deadline(LONG)) == [{}]
    assert time.monotonic() - began < LONG / 2


def test_a_commit_that_the_switch_had_seen() -> None:
    """It does not wait where ovs-vswitchd is as far already."""
    with serving(committing(3, early=False)) as (_, database):
        assert database.commit([SELECT], Deadline(LONG)) == [{}]


def test_a_commit_that_the_switch_does_not_see() -> None:
    """At the deadline the error says that it is ovs-vswitchd who did not act."""
    words = r"ovs-vswitchd did not act on the change within 0\.3 s"
    with (
        serving(committing(5, 4, early=False)) as (_, database),
        pytest.raises(TimedOut, match=words),
    ):
        database.commit([SELECT], Deadline(SHORT))


def test_a_commit_whose_connection_is_lost() -> None:
    """Whether ovs-vswitchd has acted cannot be told when the server goes away; it is said then."""

    def talk(client: Client) -> None:
        client.start()
        result = [{}, {"count": 1}, {"rows": [{"next_cfg": 1}]}]
        client.send(reply(client.request("transact"), result))
        time.sleep(0.1)  # until it waits
        client.end.shutdown(socket.SHUT_RDWR)

    began = time.monotonic()
    with serving(talk) as (_, database), pytest.raises(CannotTell, match="connection lost"):
        database.commit([SELECT], Deadline(LONG))
    assert time.monotonic() - began < LONG / 2


WAIT: Op = {"op": "wait", "table": "Port", "where": [], "rows": [], "until": "==", "timeout": 0}


@pytest.mark.parametrize(
    ("ops", "results", "error", "words"),
    [
        (
            [SELECT],
            [{"error": "unknown column", "details": "no x"}],
            Failed,
            "unknown column: no x",
        ),
        ([SELECT], [{"error": "I/O error"}], Failed, "OVSDB refused: I/O error"),
        ([SELECT, SELECT], [{"error": "e"}, None], Failed, "OVSDB refused: e"),
        (
            [SELECT],
            [{"rows": []}, {"error": "constraint violation"}],
            Failed,
            "constraint violation",
        ),
        ([WAIT, SELECT], [{"error": "timed out"}, None], Conflict, "the Port table has changed"),
    ],
)
def test_what_the_server_refuses(
    ops: list[Op], results: list[Any], error: type[SmartvifError], words: str
) -> None:
    """A refused operation, or the whole that is refused at its end, is told in OVSDB's words."""

    def talk(client: Client) -> None:
        client.start()
        client.answer(client.request("transact"), results)
        client.receive()

    with serving(talk) as (_, database), pytest.raises(error, match=words):
        database.transact(ops, Deadline(LONG))


def test_a_request_that_the_server_refuses() -> None:
    """An error to the whole request is told in OVSDB's words."""

    def talk(client: Client) -> None:
        client.start()
        number = client.request("transact")["id"]
        message = {"id": number, "result": None, "error": {"error": "unknown database"}}
        client.end.sendall(json.dumps(message).encode())
        client.receive()

    with serving(talk) as (_, database), pytest.raises(Failed, match="unknown database"):
        database.transact([SELECT], Deadline(LONG))


@pytest.mark.parametrize(
    "address",
    ["", "db.sock", "/run/db.sock", "ssl:127.0.0.1:6640", "ptcp:6640", "unix", "UNIX:/db.sock"],
)
def test_other_schemes(address: str) -> None:
    """An address of another form is refused, with the forms that there are as the hint."""
    with pytest.raises((Invalid, CannotTell)) as caught:
        Ovsdb(address).transact([SELECT], Deadline(SHORT))
    assert caught.value.hint


def test_a_connection_that_could_not_be_made_is_closed() -> None:
    """A server that cannot be reached costs no open file."""
    database = Ovsdb("unix:/nonexistent/db.sock")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(CannotTell) as caught:
        database.transact([SELECT], Deadline(SHORT))
    assert os.listdir("/proc/self/fd") == before
    assert caught.value.hint


@pytest.mark.parametrize(
    "address",
    [
        "unix:/nonexistent/db.sock",
        "unix:",
        "unix:/" + "x" * 200,
        "unix:/etc/passwd",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:",
        "tcp:127.0.0.1:x",
        "tcp:127.0.0.1:-1",
        "tcp:127.0.0.1:65536",
        "tcp:127.0.0.1:1",
        "tcp:[::1]:1",
        "tcp:..:6640",
    ],
)
def test_addresses_where_no_server_is(address: str) -> None:
    """Where nobody listens, or nobody can, nothing can be told; the address is named."""
    with pytest.raises((Invalid, CannotTell)) as caught:
        Ovsdb(address).transact([SELECT], Deadline(2.0))
    assert address in str(caught.value)
    assert caught.value.hint


def test_a_server_by_tcp() -> None:
    """A server on a TCP port is spoken to as well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            end, _ = listener.accept()
            with end:
                Client(end).serve()

        thread = threading.Thread(target=serve)
        thread.start()
        database = Ovsdb(f"tcp:127.0.0.1:{listener.getsockname()[1]}")
        assert database.transact([SELECT], Deadline(LONG)) == [SELECT]
        database.close()
        thread.join()
