"""What the simulated vRouter says of itself, and faults to put into it: JSON by HTTP on loopback.

    GET /interfaces   each vif: port, netdev, network, VNI, whether it is active or why not, packets
    GET /flows        each flow: its key, what the vRouter passed on of it, and what the card did
    GET /totals       frames passed on by the vRouter itself, flooded, dropped by reason; flows
    GET, PUT /faults  capacity and fail_hooks of the card, delay, answer and drop of the port API

The port is that of the real agent's introspect, whose documents are others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from smartvif.model.errors import Failed, Invalid, SmartvifError
from smartvif.sim.nic.eswitch import Eswitch
from smartvif.sim.vrouter import tunnel
from smartvif.sim.vrouter.api import Faults
from smartvif.sim.vrouter.datapath import Datapath
from smartvif.sim.vrouter.flows import TrackedFlow
from smartvif.sim.vrouter.loop import Loop
from smartvif.sim.vrouter.vif import VRouterInterface

PORT = 8085

Document = dict[str, Any]


class Introspect:
    """The documents. Each is made by the datapath's own thread, so that it is of one moment."""

    def __init__(self, loop: Loop, datapath: Datapath, eswitch: Eswitch, faults: Faults) -> None:
        self._loop = loop
        self._datapath = datapath
        self._eswitch = eswitch
        self._faults = faults
        self._documents: Mapping[str, Callable[[], Document]] = {
            "/interfaces": self._interfaces,
            "/flows": self._flows,
            "/totals": self._totals,
            "/faults": self._present_faults,
        }

    def document(self, path: str) -> Document | None:
        """The document at a path, or None where there is none."""
        make = self._documents.get(path)
        return None if make is None else {"simulated": True, **self._loop.call(make)}

    def set_faults(self, body: bytes) -> None:
        """Set the faults that a JSON object names; the others stay.

        Raises: Invalid; then all stay.
        """
        wanted = read_faults(body)
        self._loop.call(lambda: self._set(wanted))

    def _set(self, wanted: Mapping[str, Any]) -> None:
        for name, value in wanted.items():
            match name:
                case "capacity":
                    self._eswitch.capacity = value
                case "fail_hooks":
                    self._eswitch.fail = value
                case _:
                    setattr(self._faults, name, value)

    def _present_faults(self) -> Document:
        faults = self._faults
        return {
            "capacity": self._eswitch.capacity,
            "fail_hooks": self._eswitch.fail,
            "delay": faults.delay,
            "answer": faults.answer,
            "drop": faults.drop,
        }

    def _interfaces(self) -> Document:
        return {"interfaces": [_interface(vif) for vif in self._datapath.vifs]}

    def _flows(self) -> Document:
        return {"flows": [self._flow(flow) for flow in self._datapath.flows]}

    def _totals(self) -> Document:
        datapath = self._datapath
        datapath.count_missed()
        return {
            "forwarded": datapath.forwarded,
            "flooded": datapath.flooded,
            "dropped": dict(datapath.dropped),
            "flows": len(datapath.flows),
            "flows_not_given_up": len(datapath.offers.stuck),
        }

    def _flow(self, flow: TrackedFlow) -> Document:
        packets, size, reason = self._hardware(flow)
        return {
            **flow.key._asdict(),
            "target": flow.target,
            "offloaded": flow.miss is None,
            "reason": reason,
            "software_packets": flow.packets,
            "software_bytes": flow.bytes,
            "hardware_packets": packets,
            "hardware_bytes": size,
        }

    def _hardware(self, flow: TrackedFlow) -> tuple[int | None, int | None, str | None]:
        """Packets and bytes that the card passed on; None, and why, where it does not tell."""
        if flow.miss is not None:
            return 0, 0, flow.miss
        try:
            counts = self._datapath.offers.stats(flow)
        except SmartvifError as error:
            return None, None, str(error)
        return counts.packets, counts.bytes, None


class IntrospectServer(ThreadingHTTPServer):
    """An HTTP server of the documents.

    Raises: Failed, where the port is taken.
    """

    daemon_threads = True

    def __init__(self, introspect: Introspect, port: int = PORT) -> None:
        self.introspect = introspect
        try:
            super().__init__(("127.0.0.1", port), _IntrospectHandler)
        except OSError as error:
            raise Failed(f"cannot listen on port {port}: {error}", where="sim") from error

    def server_bind(self) -> None:
        """Without the look-up of our own name, which may ask a name server that is not there."""
        TCPServer.server_bind(self)


class _IntrospectHandler(BaseHTTPRequestHandler):
    server: IntrospectServer

    def do_GET(self) -> None:
        """A document."""
        found = self.server.introspect.document(self.path)
        self._send(200 if found else 404, found or {"error": f"there is no {self.path}"})

    def do_PUT(self) -> None:
        """New faults; the answer is all of them."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path != "/faults":
            self._send(404, {"error": f"{self.path} cannot be set"})
            return
        try:
            self.server.introspect.set_faults(body)
        except Invalid as error:
            self._send(400, {"error": str(error)})
            return
        self.do_GET()

    def _send(self, status: int, document: Document) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""


def _interface(vif: VRouterInterface) -> Document:
    return {
        "port": None if vif.tunnel else vif.id,
        "kind": "tunnel" if vif.tunnel else "port",
        "netdev": vif.netdev,
        "mac": vif.mac.hex(":") if vif.mac is not None else None,
        "network": str(vif.network),
        "vni": tunnel.vni(vif.network),
        "active": vif.socket is not None,
        "reason": vif.reason or None,
        "rx_packets": vif.received,
        "tx_packets": vif.sent,
    }


def read_faults(body: bytes) -> dict[str, Any]:
    """The faults that a request names, checked.

    Raises: Invalid.
    """
    try:
        wanted = json.loads(body)
    except ValueError as error:
        raise Invalid(f"not JSON: {error}") from error
    if not isinstance(wanted, dict):
        raise Invalid("not a JSON object")
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        match name, value:
            case ("capacity", int()) if type(value) is int and value >= 0:
                found[name] = value
            case ("fail_hooks", str() | None) | ("drop", bool()) | ("answer", None):
                found[name] = value
            case ("delay", int() | float()) if type(value) is not bool and value >= 0:
                found[name] = float(value)
            case ("answer", [int(status), str(text)]):
                found[name] = (status, text)
            case _:
                raise Invalid(f"no fault is {json.dumps({name: value})}")
    return found
