"""The ``smartvif`` command as a person runs it, and guests as a person finds them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.sim.guest.console import Console
from smartvif.sim.guest.guests import SimulatedGuests
from smartvif.sim.host import BRIDGE, GUESTS
from tests.support.hung import evidence

SMARTVIF = Path(sys.executable).with_name("smartvif")
MODES = ("normal", "direct", "virtio-forwarder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said. ``code`` is its exit code."""

    code: int
    out: str
    err: str


def smartvif(*words: str, env: dict[str, str] | None = None) -> Answer:
    """Run the command; ``env`` is added to the environment.

    One that does not end, however busy the machine is, tells what it was at.
    """
    process = subprocess.Popen(
        [str(SMARTVIF), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})},
    )
    try:
        out, err = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        seen = evidence()
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate()
        raise AssertionError(f"{words} did not end: {err}\n{seen}") from None
    return Answer(code=process.returncode, out=out, err=err)


def refused(answer: Answer, code: int, what: str) -> None:
    """It is one error that says what, where and a hint; nothing is on stdout."""
    error = re.fullmatch(r"error: (\S.*?): (?P<what>\S.*)\n hint: \S.*\n", answer.err)
    assert error is not None, answer
    assert re.search(what, error["what"]), answer
    assert (answer.code, answer.out) == (code, ""), answer


def document(*words: str, code: int = 0) -> dict[str, Any]:
    """Run the command with ``-f json``; what it printed, if it ended with ``code``."""
    answer = smartvif(*words, "-f", "json")
    assert answer.code == code, answer
    found: dict[str, Any] = json.loads(answer.out)
    return found


def attach(vm: str, mode: str, *options: str) -> dict[str, Any]:
    """Attach a machine to the bridge; the port."""
    return document("attach", "--vm", vm, "--mode", mode, "--bridge", BRIDGE, *options)


def join(vm: str, mode: str, network: str, *options: str) -> dict[str, Any]:
    """Attach a machine to a network of the vRouter; the port."""
    where = ("--switch", "vrouter", "--network", network)
    return document("attach", "--vm", vm, "--mode", mode, *where, *options)


def host() -> HostContext:
    """The host that the commands work on, opened again."""
    return HostContext(settings.load())


def guests() -> SimulatedGuests:
    """The host's machines, to be switched on and off."""
    return SimulatedGuests(settings.load().libvirt.uri, GUESTS)


def guest(vm: str) -> Console:
    """A machine that takes commands."""
    return guests().wait_ready(vm)


def netdev(vm: str, mac: str, *, seconds: float = 30.0) -> str:
    """The name that the guest gives the interface, once it is there."""
    end = time.monotonic() + seconds
    while True:
        _, said = guest(vm).run(f"grep -il {mac} /sys/class/net/*/address")
        if found := re.search(r"/sys/class/net/(\S+)/address", said.decode()):
            return found[1]
        assert time.monotonic() < end, f"{vm} has no interface {mac}"
        time.sleep(0.2)


def configure(vm: str, mac: str, address: str, *, mtu: int | None = None) -> str:
    """Give the guest's interface an address, and an MTU where the guest is to set it itself."""
    name = netdev(vm, mac)
    size = f"ip link set {name} mtu {mtu} && " if mtu else ""
    code, said = guest(vm).run(
        f"{size}ip addr add {address}/24 dev {name} && ip link set {name} up"
    )
    assert code == 0, said
    return name


def pings(vm: str, address: str, *, size: int = 56, count: int = 3) -> int:
    """How many of ``count`` pings with ``size`` bytes are answered."""
    _, said = guest(vm).run(f"ping -c {count} -i 0.2 -W 2 -s {size} {address}", timeout=60.0)
    received = re.search(rb"(\d+) packets received", said)
    return int(received[1]) if received else 0


def eventually_pings(vm: str, address: str, *, seconds: float = 20.0) -> bool:
    """Whether a ping is answered before the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if pings(vm, address, count=1):
            return True
    return False
