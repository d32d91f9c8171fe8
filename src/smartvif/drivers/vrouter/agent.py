"""The vRouter's agent, by its port API (HTTP on port 9091 of the loopback).

The agent's answers prove little. It answers 200 to every DELETE, keeps a port's old values when the
port is posted again with others, and never rewrites an existing file; so a port not known to
be the same is deleted and posted again, and smartvif writes the files itself.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from smartvif.drivers.vrouter.files import PortFiles
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.model.errors import CannotTell, Failed, Invalid, TimedOut
from smartvif.model.known import Known, Present, Unknown, read_known

_MOST = 1 << 20  # bytes of an answer; the agent's are some hundreds
_OK = 200
_NOT_FOUND = 404
_SOON = 1.0  # seconds
_SEE = "see: contrail-status, systemctl status contrail-vrouter-agent"
_SIMULATED = "simulated"  # in the header "Server" of smartvif.sim's agent


class _Down(Exception):
    """No process listens at the agent's address."""


class AgentDown(CannotTell):
    """No agent runs."""


class AgentFailed(Failed):
    """The agent answered that it did not do it, or did not finish its answer."""


class AgentSilent(AgentFailed, TimedOut):
    """The agent took the request and did not answer in time."""


class NotListening(TimedOut):
    """No agent came up in time."""


class DatapathMissing(TimedOut):
    """The DPDK vRouter itself, without which its agent can do nothing, did not come up in time."""


class SocketMissing(TimedOut):
    """The vRouter did not make a port's socket in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPortState:
    """A port of the vRouter: its ``file``, and what the agent shows of it."""

    file: Known[Mapping[str, Any]]
    shown: Known[Mapping[str, Any]]
    simulated: bool
    link_up = None

    def as_json(self) -> dict[str, object]:
        """What the agent shows, with the agent's keys."""
        return dict(self.shown.value) if isinstance(self.shown, Present) else {}


class VRouterAgent:
    """The agent at ``url``, and its directory of port files.

    ``timeout`` is in seconds, for one call here, however many requests that takes.
    Raises: Invalid, for a malformed address.
    """

    NAME: ClassVar[str] = "vrouter"
    TITLE: ClassVar[str] = "vRouter"

    def __init__(self, url: str, files: PortFiles, *, timeout: float = 5.0) -> None:
        self.url = url
        self.files = files
        self._timeout = timeout
        self._simulated: bool | None = None  # unknown until the first answer
        try:
            parts = urlsplit(url)
            self._address = (parts.hostname or "", parts.port or 0)
        except ValueError:
            parts, self._address = urlsplit(""), ("", 0)
        if parts.scheme != "http" or not all(self._address):
            raise Invalid(
                f"'{url}' is not an address",
                where="vRouter",
                hint="write it like http://127.0.0.1:9091",
            )

    def add(self, port: VRouterPort, *, persist: bool = True, deferrable: bool = False) -> None:
        """Give the vRouter the port, now and at each of its starts. Idempotent.

        A port that the agent may know otherwise is deleted first, because it would keep the old
        values; one that differs in details only is not, because that would interrupt its traffic.
        Where no agent runs, a ``deferrable`` port is done when its file is there: the agent reads
        it when it starts. Without ``persist`` no file is written.
        Raises: AgentFailed with the agent's words; AgentDown; Failed with the file system's words.
        """
        end = self._deadline()
        known = self.files.read(port.id)
        try:
            if known is None or not port.is_meant_by(known):
                self._request("DELETE", f"/port/{port.id}", end)
        except _Down:
            pass  # so is the POST
        if persist:
            self.files.write(port)
        try:
            status, answer = self._request("POST", "/port", end, json.dumps(port.document()))
        except _Down as down:
            if persist and deferrable:
                return
            raise self._agent_down(down) from down
        # It says 200 to some of what it refuses, with the reason in the body.
        if status != _OK or not isinstance(answer, dict) or "error" in answer:
            raise AgentFailed(
                f"the vRouter agent refused the port: {_words(status, answer)}",
                where=self.url,
                hint="see its log; does the port's network exist there?",
            )

    def remove(self, port: str) -> None:
        """Remove the port permanently. Idempotent; succeeds also if no agent runs.

        Raises: Failed; TimedOut.
        """
        # The file first: else an agent that starts meanwhile would add the port.
        self.files.remove(port)
        try:
            status, answer = self._request("DELETE", f"/port/{port}", self._deadline())
        except _Down:
            return
        if status not in (_OK, _NOT_FOUND):
            raise Failed(
                f"the vRouter agent did not delete port {port}: {_words(status, answer)}",
                where=self.url,
                hint="see its log",
            )

    def port(self, port: str) -> dict[str, Any] | None:
        """The port as the agent shows it; None where it does not.

        It shows a port only after its controller has sent it the port's network, and does not show
        whether the port is active.
        Raises: CannotTell, where no agent runs; Failed; TimedOut.
        """
        try:
            status, answer = self._request("GET", f"/port/{port}", self._deadline())
        except _Down as down:
            raise self._agent_down(down) from down
        if status == _NOT_FOUND:
            return None
        if status != _OK or not isinstance(answer, dict):
            raise Failed(
                f"the vRouter agent did not show port {port}: {_words(status, answer)}",
                where=self.url,
            )
        return answer

    def check_alive(self) -> None:
        """Check that an agent runs.

        Raises: CannotTell, where none does; Failed; TimedOut.
        """
        try:
            self._exchange("GET", "/", self._deadline())
        except _Down as down:
            raise self._agent_down(down) from down

    def read_ports(self, keys: Collection[str]) -> dict[str, Known[AgentPortState]]:
        """The ports with those identifiers, from their files and from the agent.

        After one request without an answer the agent is not queried again.
        """
        found: dict[str, Known[AgentPortState]] = {}
        silence: Unknown | None = None
        for port in keys:
            shown = silence or read_known(partial(self.port, port))
            silence = shown if isinstance(shown, Unknown) else None
            file = read_known(partial(self.files.read, port))
            found[port] = Present(
                AgentPortState(file=file, shown=shown, simulated=bool(self._simulated))
            )
        return found

    def netdevs(self) -> dict[str, str]:
        """The port of each netdev, as the files have it.

        Raises: CannotTell.
        """
        found = self.files.netdevs()
        return {netdev: f"the vRouter's port {port}" for netdev, port in found.items()}

    def owned_by(self, _port: str) -> None:
        """None, for unknown: the agent keeps no owner beside the port's identifier."""
        return

    def remove_owned(self, port: str) -> None:
        """As ``remove``."""
        self.remove(port)

    def simulated(self) -> bool:
        """Whether it is a simulation, which each answer shows; False without a quick answer."""
        if self._simulated is None:
            with suppress(_Down, Failed):
                self._exchange("GET", "/", time.monotonic() + min(self._timeout, _SOON))
        return bool(self._simulated)

    def set_link(self, port: str, *, up: bool) -> None:
        """Set the link state of an ESXi port; others ignore it. Succeeds also if no agent runs.

        Raises: Failed; TimedOut.
        """
        path = f"/{'enable' if up else 'disable'}-port/{port}"
        try:
            status, answer = self._request("PUT", path, self._deadline())
        except _Down:
            return
        if status != _OK:
            raise Failed(f"the vRouter agent: {_words(status, answer)}", where=self.url)

    def wait_until_up(self, seconds: float) -> None:
        """Wait until an agent listens.

        Raises: NotListening.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                _connect(self._address, time.monotonic() + self._timeout).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise NotListening(
                        f"no vRouter agent within {seconds:g} s",
                        where=self.url,
                        hint=_SEE,
                    ) from None
                time.sleep(0.1)

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout

    def _request(
        self, method: str, path: str, end: float, body: str | None = None
    ) -> tuple[int, Any]:
        """One request; the answer's status, and its body as JSON or, where it is none, as text."""
        status, text = self._exchange(method, path, end, body)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def _exchange(
        self, method: str, path: str, end: float, body: str | None = None
    ) -> tuple[int, str]:
        """One request; the answer's status and body."""
        import http.client  # it takes longer to import than most commands that need none of it

        connection = http.client.HTTPConnection(*self._address)
        try:
            with closing(connection):
                connection.sock = _connect(self._address, end)
                connection.request(method, path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read(_MOST).decode(errors="replace")
                self._simulated = _SIMULATED in response.getheader("Server", "")
        except ConnectionRefusedError as error:
            raise _Down(str(error)) from error
        except TimeoutError as error:
            raise AgentSilent(
                f"the vRouter agent did not answer {method} {path} within {self._timeout:g} s",
                where=self.url,
                hint="it runs, or something does at its address; see its log",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise AgentFailed(
                f"the vRouter agent broke off {method} {path}: {error or type(error).__name__}",
                where=self.url,
                hint="is it the agent's port API?",
            ) from error
        return response.status, text

    def _agent_down(self, down: _Down) -> AgentDown:
        return AgentDown(f"no vRouter agent runs: {down}", where=self.url, hint=_SEE)


def wait_for_socket(path: Path, seconds: float) -> None:
    """Wait until a vhost-user socket is there that the vRouter makes.

    Raises: SocketMissing.
    """
    _wait_for_socket(path, seconds, SocketMissing)


def wait_for_datapath(path: Path, seconds: float) -> None:
    """Wait for the socket by which the agent controls the DPDK vRouter.

    Raises: DatapathMissing.
    """
    _wait_for_socket(path, seconds, DatapathMissing)


def _wait_for_socket(path: Path, seconds: float, error: type[TimedOut]) -> None:
    end = time.monotonic() + seconds
    while not path.is_socket():
        if time.monotonic() > end:
            raise error(
                f"the vRouter did not make the socket {path} within {seconds:g} s",
                where="vRouter",
                hint="see the log of its DPDK process",
            )
        time.sleep(0.02)


class _Bounded(socket.socket):
    """A socket that receives until one moment, however many pieces come."""

    end: float

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left(self.end))
        return super().recv_into(*args, **kwargs)


def _connect(address: tuple[str, int], end: float) -> socket.socket:
    (family, kind, *_), *_ = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    channel = _Bounded(family, kind)
    channel.end = end
    try:
        channel.settimeout(_left(end))
        channel.connect(address)
    except BaseException:
        channel.close()
        raise
    return channel


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _words(status: int, answer: Any) -> str:
    said = answer.get("error", answer) if isinstance(answer, dict) else answer
    return f"{status} {said}".strip()
