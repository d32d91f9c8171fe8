"""Who we are at Placement: nobody in particular, or a user of Keystone's (simulated here)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from smartvif.choose.placement.session import adapter

TOKEN = {"token": {"expires_at": "2999-01-01T00:00:00Z", "methods": ["password"], "catalog": []}}


@contextmanager
def simulated_cloud() -> Iterator[tuple[str, list[tuple[str, str | None, Any]]]]:
    """Keystone below /v3 and something at every other path; the requests with their tokens."""
    heard: list[tuple[str, str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            heard.append((self.path, self.headers.get("X-Auth-Token"), body))
            asks_token = self.path == "/v3/auth/tokens"
            self.send_response(201 if asks_token else 200)
            if asks_token:
                self.send_header("X-Subject-Token", "secret")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(TOKEN if asks_token else {}).encode())

        do_GET = do_POST = _answer  # noqa: N815  (http.server's names)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()


def ask(auth: bool) -> list[tuple[str, str | None, Any]]:
    """What a question to Placement makes of requests."""
    with simulated_cloud() as (url, heard):
        way = adapter(
            f"{url}/placement",
            auth_url=f"{url}/v3" if auth else "",
            username="smartvif",
            password="geheim",  # noqa: S106
            project="service",
            domain="Default",
        )
        way.get("/resource_providers")
        way.get("/traits")
    return heard


@pytest.mark.filterwarnings("ignore:.*discovery.*")
def test_as_a_user() -> None:
    """Keystone is asked for a token once, for the project, and Placement gets it."""
    heard = ask(auth=True)
    (asked,) = (body for path, _, body in heard if path == "/v3/auth/tokens")
    user = asked["auth"]["identity"]["password"]["user"]
    assert (user["name"], user["password"]) == ("smartvif", "geheim")
    assert asked["auth"]["scope"]["project"]["name"] == "service"
    assert [(path, token) for path, token, _ in heard if path.startswith("/placement")] == [
        ("/placement/resource_providers", "secret"),
        ("/placement/traits", "secret"),
    ]


def test_as_nobody() -> None:
    """Without Keystone the words are those that noauth2 takes for an administrator."""
    assert [(path, token) for path, token, _ in ask(auth=False)] == [
        ("/placement/resource_providers", "admin"),
        ("/placement/traits", "admin"),
    ]
