"""The simulated agent's port API, over real connections on the loopback address."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartvif.model.errors import Failed
from smartvif.sim.vrouter import messages
from smartvif.sim.vrouter.api import AgentServer, Api, Faults, serve
from smartvif.sim.vrouter.messages import AgentPortMessage
from smartvif.sim.vrouter.ports import Ports

LONG = 10.0  # seconds that no test should need
VM_PORT = "0f1a2b3c-0000-4000-8000-000000000001"
REMOTE = "0f1a2b3c-0000-4000-8000-000000000002"
UNKNOWN = "0f1a2b3c-0000-4000-8000-000000000003"
MACHINE = "aaaaaaaa-0000-4000-8000-000000000000"
POD = "aaaaaaaa-0000-4000-8000-000000000001"
POD_PORT = "0f1a2b3c-0000-4000-8000-000000000004"
NETWORK = "bbbbbbbb-0000-4000-8000-000000000000"

NOT_FOUND = '{"error":"{ Not Found }"}'
NO_ROUTE = (404, '{"error":"Unknown Request"}')
DONE = (200, "{}")


def posted(port: str = VM_PORT, **changes: Any) -> dict[str, Any]:
    """A port as it is posted; other values are named with ``_`` for ``-``."""
    return {
        "id": port,
        "instance-id": MACHINE,
        "vn-id": NETWORK,
        "vm-project-id": "",
        "display-name": "vm 1",
        "ip-address": "10.0.0.1",
        "ip6-address": "None",
        "type": 0,
        "system-name": "tap0",
        "mac-address": "52:54:00:00:00:01",
        "rx-vlan-id": -1,
        "tx-vlan-id": -1,
        **{key.replace("_", "-"): value for key, value in changes.items()},
    }


CONTAINER = {"vm-uuid": POD, "host-ifname": "tap7", "vm-name": "pod"}
CONTAINER |= {"vn-uuid": NETWORK, "vmi-uuid": POD_PORT}
SUBNET = {"ip-address": "10.0.0.0", "prefix-len": 8}
GATEWAY: dict[str, Any] = {"interface": "vgw", "routing-instance": "vn:vn"}
GATEWAY |= {"subnets": [SUBNET], "routes": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that runs, and one connection to it."""

    server: AgentServer
    ports: Ports
    faults: Faults
    client: HTTPConnection

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        response = self.response(method, path, body)
        return response.status, response.read().decode()

    def response(self, method: str, path: str, body: str = "") -> HTTPResponse:
        self.client.request(method, path, body.encode())
        return self.client.getresponse()


@contextmanager
def running(directory: Path, *, upstream: bool = False) -> Iterator[Running]:
    """A server with a machine's port and a remote one."""
    ports, faults = Ports(directory, upstream=upstream), Faults()
    ports.add(json.dumps([posted(), posted(REMOTE, type=2)]))
    server = serve(ports, port=0, faults=faults)
    server.start()
    client = HTTPConnection("127.0.0.1", server.port, timeout=LONG)
    try:
        yield Running(server=server, ports=ports, faults=faults, client=client)
    finally:
        client.close()
        server.stop()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    """One that tells the truth."""
    with running(tmp_path / "ports") as made:
        yield made


def error(text: str) -> str:
    """The body in which an error is told."""
    return json.dumps({"error": text}, ensure_ascii=False, separators=(",", ":"))


BAD_MAC = json.dumps(posted(UNKNOWN, mac_address=""))
NO_MAC = "{ Invalid MAC, Use xx:xx:xx:xx:xx:xx format }"
ANSWERS: tuple[tuple[str, str, str, tuple[int, str]], ...] = (
    ("POST", "/port", json.dumps(posted(UNKNOWN)), DONE),
    ("POST", "/port", json.dumps([posted(UNKNOWN)]), DONE),
    ("POST", "/port", BAD_MAC, (500, error(NO_MAC))),
    ("POST", "/port", f"[{BAD_MAC}]", (500, error(NO_MAC))),
    ("POST", "/port", "ä", (500, error("{ Invalid Json string ==> ä }"))),
    ("POST", "/port", "7", (500, error("{ Unexpected Json string ==> 7 }"))),
    ("POST", "/port?a=b", json.dumps(posted(UNKNOWN)), DONE),
    ("DELETE", f"/port/{VM_PORT}", "", DONE),
    ("DELETE", f"/port/{UNKNOWN}", "", (404, NOT_FOUND)),
    ("GET", f"/port/{UNKNOWN}", "", (404, NOT_FOUND)),
    ("POST", "/syncports", "", DONE),
    ("PUT", f"/enable-port/{REMOTE}", "", DONE),
    ("PUT", f"/disable-port/{REMOTE}", "", DONE),
    ("PUT", f"/enable-port/{UNKNOWN}", "", (500, error(f"{{Port Not found {UNKNOWN}}}"))),
    ("PUT", f"/disable-port/{UNKNOWN}", "", (500, error(f"{{Port Not found {UNKNOWN}}}"))),
    ("PUT", f"/enable-port/{VM_PORT}", "", (500, error(f"{{Incorrect Port type for {VM_PORT}}}"))),
    ("POST", "/gateway", json.dumps([GATEWAY]), DONE),
    ("POST", "/gateway", "{}", (500, error("{ Unexpected Json string (not an array) ==> {} }"))),
    ("DELETE", "/gateway", json.dumps([GATEWAY]), DONE),
    ("DELETE", "/gateway", "[1]", (500, error("{ Json Array has invalid element ==> [1] }"))),
    ("POST", "/vm", json.dumps(CONTAINER), DONE),
    ("POST", "/vm", "[]", (500, error("{ Unexpected Json string ==> [] }"))),
    ("POST", "/vm", "{}", (500, error("{ Invalid or missing data for <vm-uuid> }"))),
    ("DELETE", f"/vm/{POD}", "", (404, NOT_FOUND)),
    ("GET", f"/vm/{POD}", "", (404, NOT_FOUND)),
    ("GET", f"/vm/{MACHINE}/{UNKNOWN}", "", (404, NOT_FOUND)),
    ("GET", "/vm-cfg/pod", "", (404, NOT_FOUND)),
    ("GET", "/port", "", NO_ROUTE),
    ("PUT", "/port", "", NO_ROUTE),
    ("POST", "/port/", "", NO_ROUTE),
    ("POST", "/ports", "", NO_ROUTE),
    ("GET", f"/port/{VM_PORT}/", "", NO_ROUTE),
    ("GET", f"/port/{VM_PORT.upper()}", "", NO_ROUTE),
    ("GET", f"/port/{VM_PORT.replace('-', '')}", "", NO_ROUTE),
    ("DELETE", "/port/nonsense", "", NO_ROUTE),
    ("GET", "/syncports", "", NO_ROUTE),
    ("POST", f"/enable-port/{REMOTE}", "", NO_ROUTE),
    ("DELETE", f"/vm/{POD}/{POD_PORT}", "", NO_ROUTE),
    ("PATCH", "/port", "{}", NO_ROUTE),
    ("HEAD", "/port", "", (404, "")),
    ("GET", "/", "", NO_ROUTE),
)


@pytest.mark.parametrize(("method", "path", "body", "answer"), ANSWERS)
def test_every_route(
    agent: Running, method: str, path: str, body: str, answer: tuple[int, str]
) -> None:
    """Each route gives each of its answers, with the agent's status line and headers."""
    response = agent.response(method, path, body)
    text = response.read()
    assert (response.status, text.decode()) == answer
    assert (response.reason, response.version) == ("OK", 11)
    assert response.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert response.headers["Server"] == "smartvif-simulated-vrouter-agent"
    if method != "HEAD":
        assert int(response.headers["Content-Length"]) == len(text)


def test_a_port_by_its_route(agent: Running) -> None:
    """GET tells a port as the agent does, as long as it is there, on one connection."""
    status, text = agent.ask("GET", f"/port/{VM_PORT}")
    told, port = json.loads(text), agent.ports.get(VM_PORT)
    assert status == 200
    assert port is not None
    expected = json.loads(messages.answer_text(port, 0.0))
    assert {**told, "time": ""} == {**expected, "time": ""}
    assert text.startswith('{\n    "id": "')
    end = agent.client.sock
    assert agent.ask("DELETE", f"/port/{VM_PORT}") == DONE
    assert agent.ask("GET", f"/port/{VM_PORT}") == (404, NOT_FOUND)
    assert agent.client.sock is end


def test_a_link_by_its_routes(agent: Running) -> None:
    """A remote port's link is up after enable-port, and down after disable-port."""
    for verb, state in (("enable", 1), ("disable", 0)):
        assert agent.ask("PUT", f"/{verb}-port/{REMOTE}") == DONE
        port = agent.ports.get(REMOTE)
        assert port is not None
        assert port.link_state == state


def test_a_machine_by_its_routes(agent: Running) -> None:
    """A container's port is told in an array, by its machine or its own name, until deleted."""
    assert agent.ask("POST", "/vm", json.dumps(CONTAINER)) == DONE
    for path in (f"/vm/{POD}", f"/vm/{POD}/{POD_PORT}"):
        status, text = agent.ask("GET", path)
        assert status == 200
        (told,) = json.loads(text)
        assert (told["id"], told["instance-id"], told["vn-id"]) == (POD_PORT, POD, NETWORK)
    assert agent.ask("GET", f"/vm/{POD}/{UNKNOWN}") == (404, NOT_FOUND)
    status, text = agent.ask("GET", "/vm-cfg/pod")
    (config,) = json.loads(text)
    assert (status, config["id"], config["vm-uuid"]) == (200, POD_PORT, POD)
    assert agent.ask("DELETE", f"/vm/{POD}") == DONE
    assert agent.ask("GET", f"/vm/{POD}") == (404, NOT_FOUND)
    # The ports of any other machine are told as well.
    _, text = agent.ask("GET", f"/vm/{MACHINE}")
    assert {port["id"] for port in json.loads(text)} == {VM_PORT, REMOTE}


def test_what_is_not_configured_is_not_told(tmp_path: Path) -> None:
    """Neither a port nor a container's is told before its configuration has come."""
    configured: set[str] = set()

    def has_come(port: AgentPortMessage) -> bool:
        return port.id in configured

    api = Api(Ports(tmp_path, configured=has_come))
    api.respond("POST", "/port", json.dumps(posted()))
    api.respond("POST", "/vm", json.dumps(CONTAINER))
    paths = (f"/port/{VM_PORT}", f"/vm/{MACHINE}", f"/vm/{POD}", "/vm-cfg/pod")
    assert [api.respond("GET", path, "")[0] for path in paths] == [404] * 4
    configured |= {VM_PORT, POD_PORT}
    assert [api.respond("GET", path, "")[0] for path in paths] == [200] * 4


def test_upstream_says_that_all_is_well(tmp_path: Path) -> None:
    """As upstream, a bad array, a lost file and deleting anything are a success."""
    with running(tmp_path / "ports", upstream=True) as agent:
        assert agent.ask("POST", "/port", f"[{BAD_MAC}]") == DONE
        assert agent.ask("POST", "/port", BAD_MAC) == (500, error(NO_MAC))
        assert agent.ask("DELETE", f"/port/{UNKNOWN}") == DONE
        assert agent.ask("DELETE", f"/vm/{UNKNOWN}") == DONE
        assert agent.ask("DELETE", "/port/nonsense") == NO_ROUTE


def test_a_lost_directory_is_told(agent: Running, tmp_path: Path) -> None:
    """A port whose file cannot be written is an error for the client."""
    (tmp_path / "ports").rename(tmp_path / "elsewhere")
    words = f"{{ Writing of Json string to file failed for {UNKNOWN} }}"
    assert agent.ask("POST", "/port", json.dumps(posted(UNKNOWN))) == (500, error(words))


def test_only_the_loopback_address(agent: Running) -> None:
    """The server listens on 127.0.0.1 and on no other address of this host."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", agent.server.port), timeout=LONG)


def test_a_port_that_is_taken(agent: Running, tmp_path: Path) -> None:
    """A second server on the same port is an error with the kernel's words."""
    with pytest.raises(Failed, match=f"cannot listen on port {agent.server.port}"):
        serve(agent.ports, port=agent.server.port, faults=Faults())


def test_a_lie(agent: Running) -> None:
    """A server that lies gives what it was told to, and does nothing."""
    agent.faults.answer = (200, "{}")
    assert agent.ask("DELETE", f"/port/{VM_PORT}") == DONE
    assert agent.ask("GET", "/nonsense") == DONE
    agent.faults.answer = None
    assert agent.ask("GET", f"/port/{VM_PORT}")[0] == 200


def test_a_delay_ends_with_the_server(agent: Running) -> None:
    """A slow server lets its client wait; when it is stopped, the client hears that at once."""
    agent.faults.delay = 3600.0
    _waits_until_the_end(agent)


def test_a_dropped_request_ends_with_the_server(agent: Running) -> None:
    """A server that drops requests takes them, answers none, and does nothing."""
    agent.faults.drop = True
    _waits_until_the_end(agent)


def _waits_until_the_end(agent: Running) -> None:
    with closing(socket.create_connection(("127.0.0.1", agent.server.port), LONG)) as client:
        client.sendall(f"DELETE /port/{VM_PORT} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        agent.server.stop()
        client.settimeout(LONG)
        assert client.recv(1) == b""
    assert agent.ports.get(VM_PORT) is not None


def test_a_delay_is_no_loss(agent: Running) -> None:
    """A slow server gives the right answer in the end."""
    agent.faults.delay = 0.05
    assert agent.ask("DELETE", f"/port/{VM_PORT}") == DONE
    assert agent.ports.get(VM_PORT) is None


def test_no_thread_is_left(tmp_path: Path) -> None:
    """Stopping ends idle connections as well, and all threads; twice is once."""
    before = threading.active_count()
    with running(tmp_path) as agent:
        agent.ask("POST", "/syncports")
        agent.server.stop()
        agent.server.stop()
        assert threading.active_count() == before
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            agent.ask("POST", "/syncports")
    serve(agent.ports, port=0, faults=Faults()).stop()  # one that was never started


def test_a_running_server_deletes_what_is_stale(tmp_path: Path) -> None:
    """Ports that are not posted again go by themselves."""
    gone = threading.Event()

    class Listener:
        def port_added(self, port: AgentPortMessage) -> None:
            pass

        def port_deleted(self, port: AgentPortMessage) -> None:
            gone.set()

    ports = Ports(tmp_path, listener=Listener(), stale_after=0.0)
    ports.add(json.dumps(posted()))
    server = serve(ports, port=0, faults=Faults())
    server.start()
    try:
        assert not gone.is_set()
        ports.sync()
        assert gone.wait(LONG)
    finally:
        server.stop()


RAW = (
    (b"nonsense\r\n\r\n", b"HTTP/1.1 400 OK\r\n"),
    (b"POST /port HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 400 OK\r\n"),
    (b"POST /port HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 400 OK\r\n"),
    (b"POST /port HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 400 OK\r\n"),
    (b"POST /port HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 500 OK\r\n"),
    (b"POST /port HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xff\xfe", b"HTTP/1.1 500 OK\r\n"),
    (b"GET /" + b"x" * 65_532, b"HTTP/1.1 414 OK\r\n"),  # no byte is left unread
    (b"POST /syncports HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
)


@pytest.mark.parametrize(("request_", "line"), RAW, ids=range(len(RAW)))
def test_what_is_hardly_http(agent: Running, request_: bytes, line: bytes) -> None:
    """Whatever comes gets an answer in JSON with a status line, and the end of the connection."""
    with closing(socket.create_connection(("127.0.0.1", agent.server.port), LONG)) as client:
        client.sendall(request_)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while data := client.recv(1 << 16):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(line)
    assert isinstance(json.loads(body), dict)


def test_a_head_has_no_body(agent: Running) -> None:
    """The answer to HEAD ends with its headers, or its client would take the body for the next."""
    with closing(socket.create_connection(("127.0.0.1", agent.server.port), LONG)) as client:
        client.sendall(b"HEAD /port HTTP/1.1\r\n\r\n")
        with client.makefile("rb") as answer:
            assert answer.read().endswith(b"\r\n\r\n")


def test_many_clients_at_once(agent: Running) -> None:
    """Each of many clients at the same time gets its answer, and every port is there after."""
    ids = [f"0f1a2b3c-0000-4000-8001-{number:012x}" for number in range(16)]
    answers = {}
    together = threading.Barrier(len(ids))

    def post(port: str) -> None:
        with closing(HTTPConnection("127.0.0.1", agent.server.port, timeout=LONG)) as client:
            together.wait(LONG)
            client.request("POST", "/port", json.dumps(posted(port)))
            answers[port] = client.getresponse().status

    threads = [threading.Thread(target=post, args=(port,)) for port in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert answers == dict.fromkeys(ids, 200)
    assert {each.port.id for each in agent.ports.subscriptions()} == {*ids, VM_PORT, REMOTE}


KEYS = st.sampled_from(sorted({*posted(), *CONTAINER, *GATEWAY, "vhostuser-mode", "link-state"}))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([VM_PORT, "10.0.0.1", "52:54:00:00:00:01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
)
NEARLY = st.builds(lambda some: {**posted(), **some}, st.dictionaries(KEYS, VALUES, max_size=3))
BODIES = st.one_of(
    VALUES.map(json.dumps),
    NEARLY.map(json.dumps),
    st.lists(NEARLY | VALUES, max_size=3).map(json.dumps),
    st.text(st.characters(codec="utf-8")),
)
PATHS = st.sampled_from([("POST", "/port"), ("POST", "/gateway"), ("POST", "/vm")])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(PATHS | st.just(("DELETE", "/gateway")), BODIES)
def test_any_body_is_answered(agent: Running, route: tuple[str, str], body: str) -> None:
    """Whatever is sent, the answer is 200 and empty, or 500 and an error; and the server lives."""
    status, text = agent.ask(*route, body)
    answer = json.loads(text)
    assert (status, answer) == (*DONE[:1], {}) or (status, list(answer)) == (500, ["error"])
    assert all(isinstance(words, str) for words in answer.values())


@given(st.text(), st.text())
def test_any_path_is_answered(method: str, path: str) -> None:
    """What no route has is an unknown request."""
    api = Api.__new__(Api)  # it needs nothing to know that
    assert api.respond(method, f"/{path}", "") == NO_ROUTE
