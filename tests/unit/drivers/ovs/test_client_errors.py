"""The OVSDB client: what makes no sense, what the server refuses, where there is no server."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from smartvif.drivers.ovs.client import Op, Ovsdb
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell, Conflict, Failed, Invalid, SmartvifError
from tests.support.ovsdb_server import LONG, SELECT, SHORT, Client, Message, serving


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
