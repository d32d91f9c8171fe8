"""What is said of a Placement that errs: a stand-in for it answers."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from smartvif.choose.placement import providers
from smartvif.choose.placement.claims import CONSUMER_TYPE
from smartvif.choose.selection.pool import Choice
from smartvif.model.errors import CannotTell, Conflict, Failed
from tests.support.placement import client, name, pool, wanted

CONCURRENT = "placement.concurrent_update"


# What goes wrong


class Stand:
    """A server that gives the next of its answers to each request, and the last for ever."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.requests: list[str] = []
        self._answers = deque(answers)
        stand = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stand.requests.append(f"{self.command} {self.path}")
                status, text = stand.next()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self) -> tuple[int, str]:
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]

    def __enter__(self) -> Stand:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def refusal(status: int, detail: str, code: str = "placement.undefined_code") -> tuple[int, str]:
    """An error as Placement says it."""
    return status, json.dumps({"errors": [{"status": status, "detail": detail, "code": code}]})


def test_nobody_there() -> None:
    """Where nobody listens, nobody can tell."""
    with Stand((200, "{}")) as stand:
        url = stand.url
    with pytest.raises(CannotTell, match="no answer to GET") as caught:
        client(url).hosts()
    assert caught.value.where == "Placement"


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        ((500, "oops"), CannotTell, "500 oops"),
        (refusal(503, "no database"), CannotTell, "no database"),
        ((200, "<html>hello</html>"), CannotTell, "200 '<html>hello</html>'"),
        ((200, "[]"), CannotTell, r"200 '\[\]'"),
        ((200, "{}"), CannotTell, "has no traits"),
        ((404, "<html>nothing here</html>"), CannotTell, "404 '<html>"),
        ((401, "who?"), Failed, "401 Unauthorized: 401 who"),
        (refusal(403, "not you"), Failed, "403 Forbidden: not you"),
        (refusal(406, "too new"), Failed, "406 Not Acceptable: too new"),
        (refusal(400, "bad\n  words "), Failed, "400 Bad Request: bad words$"),
        (refusal(409, "quicker"), Conflict, "quicker"),
    ],
)
def test_other_answers(answer: tuple[int, str], error: type[Exception], match: str) -> None:
    """An error has Placement's own words; whoever else answers is not Placement."""
    with Stand(answer) as stand, pytest.raises(error, match=match):
        client(stand.url).hosts()


def test_not_found_by_somebody_else() -> None:
    """That a proxy finds nothing does not mean that a port has nothing."""
    held = {
        "allocations": {"x": {"resources": {"SRIOV_NET_VF": 1}}},
        "consumer_generation": 1,
        "consumer_type": CONSUMER_TYPE,
    }
    proxy = Stand((200, json.dumps(held)), (404, "<html>"))
    with proxy as stand, pytest.raises(CannotTell, match="404"):
        client(stand.url).release("p")
    with Stand((200, json.dumps(held)), refusal(404, "none")) as stand:
        client(stand.url).release("p")


def test_a_short_failure() -> None:
    """What the service fails at once is asked again, and a refusal is not."""
    with Stand((503, ""), (502, ""), (200, '{"allocations": {}}')) as stand:
        client(stand.url).release("p")
        assert stand.requests == ["GET /allocations/p"] * 3
    with Stand((503, "")) as stand:
        with pytest.raises(CannotTell):
            client(stand.url).release("p")
        assert len(stand.requests) == 3


def test_always_too_late() -> None:
    """A claim that loses to others until its deadline is a conflict."""
    conflict = refusal(409, "resource provider generation conflict", CONCURRENT)
    root = {"uuid": "r", "name": "h", "parent_provider_uuid": None, "root_provider_uuid": "r"}
    pf = {"uuid": providers.identity(name("h")), "name": name("h")}
    pf |= {"parent_provider_uuid": "r", "root_provider_uuid": "r"}
    has = {"traits": sorted(pool("h").traits)}
    tree = [{"resource_providers": [root]}, {"resource_providers": [root, pf]}, has]
    with Stand(*((200, json.dumps(each)) for each in tree), conflict) as stand:
        with pytest.raises(Conflict, match="concurrent claims changed it"):
            client(stand.url, timeout=0.5).claim([Choice(request=wanted(), pool=pool("h"))])
        assert stand.requests.count("POST /allocations") > 1
