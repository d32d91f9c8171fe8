"""The simulated vRouter agent's port API: its routes, and an HTTP server that faults can be put in.

As the agent's (tf-controller, src/vnsw/agent/port_ipc/rest_server.cc, read in 2026), but on the
loopback address only: there is no authentication in this protocol.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from smartvif.model.errors import Failed, NotFound, SmartvifError
from smartvif.sim.vrouter import messages
from smartvif.sim.vrouter.messages import AgentPortMessage
from smartvif.sim.vrouter.ports import Ports

PORT = 9091
_POLL = 0.05  # seconds within which a stop and a stale port are noticed
_UUID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_NOT_FOUND = "{ Not Found }"

HttpReply = tuple[int, str]
"""A status and a body."""

_DONE: HttpReply = (200, "{}")


@dataclass(slots=True, kw_only=True)
class Faults:
    """What is wrong with the server; may be set at any time, for the requests to come.

    ``delay`` is in seconds before each answer. ``answer`` is given instead of the truth, and
    nothing is done. ``drop`` leaves requests without an answer until the server stops.
    """

    delay: float = 0.0
    answer: HttpReply | None = None
    drop: bool = False


class Api:
    """The routes, without HTTP. Gateways and containers are only remembered."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._gateways: dict[str, Any] = {}
        self._containers: dict[tuple[str, str], AgentPortMessage] = {}
        self._mutex = threading.Lock()

    def respond(self, method: str, path: str, body: str) -> HttpReply:
        """Do what a request asks, and the answer to it."""
        for verb, pattern, act in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match is not None and verb == method:
                try:
                    return act(self, body, *match.groups())
                except NotFound as error:
                    return _error(f"{{ {error.what} }}", 404)
                except SmartvifError as error:
                    return _error(f"{{ {error.what} }}")
        return _error("Unknown Request", 404)

    def _post_port(self, body: str) -> HttpReply:
        self._ports.add(body)
        return _DONE

    def _delete_port(self, _body: str, port: str) -> HttpReply:
        self._ports.delete(port)
        return _DONE

    def _get_port(self, _body: str, port: str) -> HttpReply:
        found = self._ports.get(port)
        if found is None:
            return _error(_NOT_FOUND, 404)
        return 200, messages.answer_text(found, time.time())

    def _sync(self, _body: str) -> HttpReply:
        self._ports.sync()
        return _DONE

    def _enable(self, _body: str, port: str) -> HttpReply:
        return self._set_enabled(port, enabled=True)

    def _disable(self, _body: str, port: str) -> HttpReply:
        return self._set_enabled(port, enabled=False)

    def _set_enabled(self, port: str, *, enabled: bool) -> HttpReply:
        try:
            self._ports.set_enabled(port, enabled=enabled)
        except SmartvifError as error:
            return _error(f"{{{error.what}}}")  # without blanks, and never 404
        return _DONE

    def _post_gateway(self, body: str) -> HttpReply:
        gateways = messages.gateways(body)
        with self._mutex:
            self._gateways |= gateways
        return _DONE

    def _delete_gateway(self, body: str) -> HttpReply:
        gateways = messages.gateways(body, names_only=True)
        with self._mutex:
            for name in gateways:
                self._gateways.pop(name, None)
        return _DONE

    def _post_vm(self, body: str) -> HttpReply:
        container = messages.container(body)
        with self._mutex:
            self._containers[container.instance_id, container.id] = container
        return _DONE

    def _delete_vm(self, _body: str, vm: str) -> HttpReply:
        with self._mutex:
            gone = [key for key in self._containers if key[0] == vm]
            for key in gone:
                del self._containers[key]
        if not gone and not self._ports.upstream:
            return _error(_NOT_FOUND, 404)
        return _DONE

    def _get_vm(self, _body: str, vm: str, port: str | None = None) -> HttpReply:
        now = time.time()
        return self._list(
            lambda each: each.instance_id == vm and port in (None, each.id),
            lambda each: messages.answer_text(each, now),
        )

    def _get_vm_config(self, _body: str, name: str) -> HttpReply:
        return self._list(lambda each: each.display_name == name, messages.config_text)

    def _list(
        self, wanted: Callable[[AgentPortMessage], bool], text: Callable[[AgentPortMessage], str]
    ) -> HttpReply:
        """What there is to say of the configured ports and containers that are wanted."""
        known = [each.port for each in self._ports.subscriptions()]
        with self._mutex:
            known += self._containers.values()
        found = [text(each) for each in known if wanted(each) and self._ports.configured(each)]
        return (200, f"[{','.join(found)}]") if found else _error(_NOT_FOUND, 404)


_ROUTES: tuple[tuple[str, str, Callable[..., HttpReply]], ...] = (
    ("POST", "/port", Api._post_port),
    ("DELETE", f"/port/{_UUID}", Api._delete_port),
    ("GET", f"/port/{_UUID}", Api._get_port),
    ("POST", "/syncports", Api._sync),
    ("PUT", f"/enable-port/{_UUID}", Api._enable),
    ("PUT", f"/disable-port/{_UUID}", Api._disable),
    ("POST", "/gateway", Api._post_gateway),
    ("DELETE", "/gateway", Api._delete_gateway),
    ("POST", "/vm", Api._post_vm),
    ("DELETE", f"/vm/{_UUID}", Api._delete_vm),
    ("GET", f"/vm/{_UUID}(?:/{_UUID})?", Api._get_vm),
    ("GET", "/vm-cfg/(.*)", Api._get_vm_config),
)


def _error(text: str, status: int = 500) -> HttpReply:
    return status, messages.error_text(text)


class AgentServer:
    """The port API on the loopback address. ``port`` is where it listens."""

    def __init__(self, ports: Ports, port: int, faults: Faults) -> None:
        self._http = _HttpServer(ports, port, faults)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL,), name="vrouter-api", daemon=True
        )
        self.port: int = self._http.server_address[1]

    def start(self) -> None:
        """Answer requests, in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End every connection; return when all threads have ended. Idempotent."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.end_connections()
        self._http.server_close()


def serve(ports: Ports, *, port: int = PORT, faults: Faults) -> AgentServer:
    """A server that listens, on any free port if it is 0; no request is answered before its start.

    While it runs, ports that become stale are deleted.
    Raises: Failed, where the port is taken.
    """
    try:
        return AgentServer(ports, port, faults)
    except OSError as error:
        raise Failed(
            f"cannot listen on port {port}: {error}",
            where="sim",
            hint="is another vRouter agent running here?",
        ) from error


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 128

    def __init__(self, ports: Ports, port: int, faults: Faults) -> None:
        self.api = Api(ports)
        self.ports = ports
        self.faults = faults
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._mutex = threading.Lock()
        super().__init__(("127.0.0.1", port), _AgentHandler)

    def server_bind(self) -> None:
        """Without the look-up of our own name, which may ask a name server that is not there."""
        TCPServer.server_bind(self)

    def service_actions(self) -> None:
        self.ports.expire()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._mutex:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._mutex:
            self._connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Have every thread see the end of its connection."""
        self.stopping.set()
        with self._mutex:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client has gone already

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may go at any time
            super().handle_error(request, client_address)


class _AgentHandler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = default_request_version = "HTTP/1.1"
    server_version = messages.AUTHOR
    disable_nagle_algorithm = True

    def _respond(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,9}", length):
            self.send_error(400, "no usable Content-Length")
            return
        body = self.rfile.read(int(length)).decode(errors="replace")
        faults, stopping = self.server.faults, self.server.stopping
        if faults.drop:
            stopping.wait()
        else:
            stopping.wait(faults.delay)
        if stopping.is_set():
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        self._send(*(faults.answer or self.server.api.respond(self.command, path, body)))

    do_GET = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815  (http.server's names)

    def _send(self, status: int, body: str) -> None:
        content = body.encode()
        self.send_response(status, "OK")  # whatever it is
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what cannot be read, or has a method that no route has, and end."""
        self.close_connection = True
        if code == 501:
            self._send(*_error("Unknown Request", 404))
        else:
            self._send(*_error(message or "", code))

    def version_string(self) -> str:
        return self.server_version

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their effect can be queried."""
