"""The simulated vRouter: what it says of itself, its faults, and waiting for it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any

from smartvif.sim.vrouter import api, introspect

SECONDS = 10.0


def request(port: int, method: str, path: str, body: object = None) -> Any:
    """Ask the port API or the introspect, which must agree."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (answer.status, text)
    return json.loads(text)


def look(what: str) -> Any:
    """A document of the introspect, which says that it is of a simulation."""
    document = request(introspect.PORT, "GET", f"/{what}")
    assert document["simulated"] is True
    return document if what in {"totals", "faults"} else document[what]


def set_faults(**faults: object) -> None:
    """Put faults into the card or the port API."""
    document = request(introspect.PORT, "PUT", "/faults", faults)
    assert faults.items() <= document.items()


def eventually(holds: Callable[[], bool], what: object = None) -> None:
    """Wait until it holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.01)


def nobody_listens() -> bool:
    """Whether no vRouter takes requests."""
    with socket.socket(socket.AF_INET) as client:
        return client.connect_ex(("127.0.0.1", api.PORT)) != 0
