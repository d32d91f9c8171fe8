"""One simulated host for the tests of a module that ask for the same, while it stays as it was.

A host with guests takes half a minute to boot, and most tests leave it as they found it. Whether
one does is not believed but looked at, by everything below ``fingerprint``: after a test that
changed something the next one gets a fresh host, as every test did before.
"""

from __future__ import annotations

import functools
import os
import pickle
import signal
import socket
import struct
import subprocess
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.demo.demo import host_state
from smartvif.sim import host
from smartvif.sim.guest.guests import SimulatedGuests
from smartvif.sim.nic.nic import NicLayout
from smartvif.sim.testing import settled

P = ParamSpec("P")

_SETTLES = 3.0  # seconds in which daemons come to rest after a test
_HEADER = struct.Struct("!I")
_tests: dict[tuple[str, str], Callable[..., None]] = {}
_running: dict[Hashable, _SharedHost] = {}


def on_shared_host(
    nic: str = "1x8", *, guests: int = 0
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """As ``on_simulated_host``, on a host that other tests of the module may have used before."""
    wanted = host.SimulatedHost(nic=NicLayout.parse(nic), guests=guests)

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        name = (test.__module__, test.__qualname__)
        _tests[name] = test

        @functools.wraps(test)
        def outside(*args: P.args, **kwargs: P.kwargs) -> None:
            key = (test.__module__, wanted)
            if key not in _running:
                _running[key] = _SharedHost.start(wanted)
            answer = _running[key].call((name, args, kwargs))
            if not answer.clean:
                _running.pop(key).end()
            if answer.interrupted:
                raise KeyboardInterrupt
            if answer.failure is not None:
                raise AssertionError(answer.failure)

        return outside

    return decorate


def end_all() -> None:
    """End the hosts of the module whose tests are over."""
    while _running:
        _running.popitem()[1].end()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What came of a test. ``clean``: the host is as it was before."""

    failure: str | None = None
    interrupted: bool = False
    clean: bool = False


class _SharedHost:
    """A host whose first process runs tests for this one, one after the other."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self._pid = pid
        self._channel = channel

    @classmethod
    def start(cls, wanted: host.SimulatedHost) -> _SharedHost:
        """Boot it; it ends with this process."""
        ours, its = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                ours.close()
                code = host.run(wanted, functools.partial(_serve, its))
            except BaseException:
                _send(its, _Answer(failure=traceback.format_exc()))
            finally:
                os._exit(code)
        its.close()
        return cls(pid, ours)

    def call(self, test: object) -> _Answer:
        """Run a test there."""
        _send(self._channel, test)
        answer = _receive(self._channel)
        if answer is None:
            return _Answer(failure="the simulated host ended")
        assert isinstance(answer, _Answer)
        return answer

    def end(self) -> None:
        """Take the host away."""
        self._channel.close()
        os.waitpid(self._pid, 0)


def _serve(channel: socket.socket) -> int:
    """Run each test that comes in a process of its own, so that its memory is lost with it."""
    before = fingerprint()
    while (request := _receive(channel)) is not None:
        name, args, kwargs = request
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(readable)
            os._exit(_run(name, args, kwargs, writable))
        os.close(writable)
        with os.fdopen(readable, "rb") as said:
            text = said.read().decode(errors="replace")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        interrupted = status == 128 + signal.SIGINT
        failure = None if status == 0 else text or f"the test's process ended with {status}"
        clean = failure is None and _as_before(before)
        _send(channel, _Answer(failure=failure, interrupted=interrupted, clean=clean))
    return 0


def _run(name: tuple[str, str], args: Any, kwargs: Any, writable: int) -> int:
    try:
        _tests[name](*args, **kwargs)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException:
        with os.fdopen(writable, "wb") as out:
            out.write(traceback.format_exc().encode())
        return 1
    return 0


def _as_before(before: frozenset[str]) -> bool:
    """Whether the host is as it was, when what is still ending has ended."""
    end = time.monotonic() + _SETTLES
    while fingerprint() != before:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def fingerprint() -> frozenset[str]:
    """Everything by which one test could change another's outcome, in words."""
    settled()
    here = HostContext(settings.load())
    found = {f"process {pid}: {command}" for pid, command in _processes()}
    found |= _files() | _links() | _switches()
    if not host.LIBVIRT.exists():
        return frozenset(found)
    found |= host_state(here)
    guests = SimulatedGuests(here.settings.libvirt.uri, host.GUESTS)
    for vm in here.domains.names():
        found.add(f"{vm}: running {here.domains.running(vm)}")
        found.add(f"{vm}: {_said('virsh', '-c', here.settings.libvirt.uri, 'dumpxml', vm)}")
        if here.domains.running(vm):
            _, inside = guests.wait_ready(vm).run("ls /sys/class/net; ip addr show lo")
            found.add(f"{vm}: has {inside.decode()}")
    return frozenset(found)


def _processes() -> list[tuple[int, str]]:
    mine, found = os.getpid(), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and int(entry.name) != mine:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if command:
                    found.append((int(entry.name), command))
        except OSError:
            continue
    return found


def _files() -> set[str]:
    """The names of files that are the host's own, and its configuration."""
    found = {str(path) for path in host.SOCKETS.glob("*")}
    found |= {f"namespace {path.name}" for path in Path("/run/netns").glob("*")}
    found |= {f"port file {path.name}" for path in (host.VROUTER / "ports").glob("*")}
    return found | {host.CONFIG.read_text()}


def _links() -> set[str]:
    """All links, with what is attached to them, without counters."""
    found = set()
    for namespace in ("", *(path.name for path in Path("/run/netns").glob("*"))):
        where = ["-n", namespace] if namespace else []
        for line in _said("ip", *where, "-o", "link").splitlines():
            found.add(f"{namespace}: {line}")
        for line in _said("ip", *where, "-o", "addr").splitlines():
            found.add(f"{namespace}: {line.split('valid_lft')[0]}")
    return found


def _switches() -> set[str]:
    """The rows of both OVSDBs that say what the switches are to do."""
    found = set()
    for directory in (host.OPENVSWITCH, host.FORWARDER):
        database = f"--db=unix:{directory}/db.sock"
        if (directory / "db.sock").exists():
            found.add(_said("ovs-vsctl", database, "--no-wait", "show"))
            for table, columns in (
                ("Open_vSwitch", "other_config,external_ids"),
                ("Bridge", "name,datapath_type,other_config,fail_mode"),
                ("Port", "name,tag,qos"),
                ("Interface", "name,type,options,external_ids"),
            ):
                found.add(
                    _said("ovs-vsctl", database, "--no-wait", f"--columns={columns}", "list", table)
                )
    return found


def _said(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def _send(channel: socket.socket, value: object) -> None:
    data = pickle.dumps(value)
    channel.sendall(_HEADER.pack(len(data)) + data)


def _receive(channel: socket.socket) -> Any:
    """The next value; None where the other end is gone."""
    with channel.makefile("rb") as stream:
        header = stream.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        return pickle.loads(stream.read(_HEADER.unpack(header)[0]))  # noqa: S301  # our own
