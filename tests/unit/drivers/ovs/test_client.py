"""The OVSDB client against a small server that answers as it likes."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartvif.drivers.ovs.client import Op, Ovsdb
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell, SmartvifError, TimedOut
from tests.support.ovsdb_server import (
    LONG,
    SELECT,
    SHORT,
    Client,
    Message,
    configuration,
    reply,
    serving,
)


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
