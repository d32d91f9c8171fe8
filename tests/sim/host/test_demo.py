"""The demonstration and the simulated host around a command: what they say and what they leave."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from typing import Any
from unittest import mock

import pytest

from smartvif.cli.main import cli
from smartvif.context.host import HostContext
from smartvif.demo import demo
from smartvif.demo.demo import Ping, Result, SwitchRound
from smartvif.model.port_spec import PortSpec
from smartvif.operations.ports.attach import attach
from smartvif.plug.journal import PortRecord
from smartvif.status.map import HostMap
from tests.support.commands import SMARTVIF, refused, smartvif
from tests.support.leftovers import in_private_world, same_soon, traces

DURATION = 18.0  # seconds that a demonstration takes where the processors have nothing else to do
GUESTS = ("vm1", "vm2", "vm3")
DEMO = [str(SMARTVIF), "demo", "-f", "json"]


def start() -> subprocess.Popen[str]:
    """A demonstration as a shell starts it: in a process group of its own."""
    return subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def test_the_demonstration() -> None:
    """One document of the documented shape, two times six pairs of pings, nothing is left."""

    def body() -> None:
        before = traces()
        done = subprocess.run(DEMO, check=False, capture_output=True, text=True)
        assert same_soon(before) == {}
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "schema": "smartvif.demo/1",
            "guests": [
                {"name": vm, "mode": mode, "switch": switch, "simulated": simulated + more}
                for switch, more in (("ovs", []), ("vrouter", ["vrouter"]))
                for vm, mode, simulated in (
                    ("vm1", "normal", []),
                    ("vm2", "direct", ["vf", "eswitch", "passthrough"]),
                    ("vm3", "virtio-forwarder", ["vf", "eswitch"]),
                )
            ],
            "pings": [
                {
                    "switch": switch,
                    "from": one,
                    "to": other,
                    "sent": demo.PINGS,
                    "received": demo.PINGS,
                }
                for switch in ("ovs", "vrouter")
                for one, other in itertools.permutations(GUESTS, 2)
            ],
            "leftovers": [],
        }
        assert all(line.startswith(" ✓ ") for line in done.stderr.splitlines()), done.stderr

    in_private_world(body)


def test_a_killed_demonstration_leaves_nothing() -> None:
    """SIGKILL at ten random moments, two demonstrations at a time: soon there is no trace."""
    stratum = DURATION / 10
    moments = [random.uniform(n * stratum, (n + 1) * stratum) for n in range(10)]  # noqa: S311
    print("killed after", ", ".join(f"{moment:.2f}" for moment in moments), "s")

    def body() -> None:
        before = traces()
        caught = 0
        for pair in zip(moments[::2], moments[1::2], strict=True):
            began = time.monotonic()
            demonstrations = [start() for _ in pair]
            for moment, running in zip(pair, demonstrations, strict=True):
                time.sleep(max(0.0, began + moment - time.monotonic()))
                caught += running.poll() is None
                # Not its output's end: whoever outlived it would hold that up.
                with running:
                    running.kill()
            assert same_soon(before) == {}, pair
        assert caught >= 5, "on so quick a machine it is over before"

    in_private_world(body)


def test_an_interrupted_demonstration_ends_at_once() -> None:
    """Ctrl-C and SIGTERM while it is made, while machines boot, and while it works: no trace."""

    def body() -> None:
        before = traces()
        for step in (" ✓ SmartNIC", " ✓ forwarder", " ✓ vm1: add port"):
            interrupted, terminated = start(), start()
            for running in (interrupted, terminated):
                wait_for(running, step)
            began = time.monotonic()
            # A terminal's interrupt goes to the whole process group, kill(1)'s to the process.
            os.killpg(interrupted.pid, signal.SIGINT)
            terminated.terminate()
            assert words_of(interrupted) == (130, [])
            assert words_of(terminated) == (143, ["ended by SIGTERM"])
            assert time.monotonic() - began < 3.0
            assert same_soon(before) == {}

    in_private_world(body)


def wait_for(running: subprocess.Popen[str], step: str) -> None:
    """Wait until a demonstration has come to this step."""
    assert running.stderr is not None
    while not (line := running.stderr.readline()).startswith(step):
        assert line, "it ended"


def words_of(running: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """The exit code of a demonstration, and what it says that is not a step."""
    out, err = running.communicate()
    assert out == ""
    return running.returncode, [line for line in err.splitlines() if not line.startswith(" ✓ ")]


def test_a_ping_that_is_not_answered_fails_the_demonstration(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With the answers of one machine to another dropped, the exit code is 1 and says so."""
    drop = "priority=9,icmp,nw_src=10.0.0.2,nw_dst=10.0.0.1,icmp_type=0,actions=drop"

    def attach_and_drop(request: PortSpec, host: HostContext, **options: Any) -> PortRecord:
        if request.bridge is not None:
            subprocess.run(["ovs-ofctl", "add-flow", request.bridge, drop], check=True)
        return attach(request, host, **options)

    log = logging.getLogger("smartvif.sim")
    with (
        # The command changes it, and this process goes on.
        mock.patch.multiple(log, handlers=[], level=log.level, propagate=log.propagate),
        mock.patch.object(demo, "attach", attach_and_drop),
        mock.patch.object(demo, "PINGS", 1),
        pytest.raises(SystemExit) as end,
    ):
        cli.main(["demo", "-f", "json"], standalone_mode=False)
    assert end.value.code == 1
    document = json.loads(capfd.readouterr().out)
    unanswered = [
        (ping["switch"], ping["from"], ping["to"])
        for ping in document["pings"]
        if not ping["received"]
    ]
    assert unanswered == [("ovs", "vm1", "vm2")]
    assert document["leftovers"] == []


def test_what_counts_as_complete() -> None:
    """One lost packet or one thing left behind is enough for a failure."""
    whole = Ping(source="vm1", target="vm2", sent=5, received=5)
    lossy = Ping(source="vm2", target="vm1", sent=5, received=4)
    nothing = HostMap(pfs=(), ways=())
    for pings, leftovers, complete in (
        ((whole,), (), True),
        ((whole, lossy), (), False),
        ((whole,), ("journal: port x",), False),
    ):
        shown = SwitchRound(switch="ovs", attached=(), pings=pings, map=nothing)
        found = Result(rounds=(shown,), leftovers=leftovers)
        assert found.complete is complete


@pytest.mark.parametrize(
    ("command", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -2 $$", 130), ("true", 0)]
)
def test_a_simulated_host_gives_its_commands_exit_code(command: str, code: int) -> None:
    """What a command ends with comes through, and so does the signal that ended it."""
    answer = smartvif("sim", "run", "--", "sh", "-c", command)
    assert (answer.code, answer.out, answer.err) == (code, "", "")


def test_a_simulated_host_without_its_command() -> None:
    """A command that is not there, and a card that cannot be, are one error each."""
    unknown = smartvif("sim", "run", "--", "no-such-command")
    refused(unknown, 1, "cannot run 'no-such-command'")
    for card in ("9x9", "1x257", "0x8", "8", "1x-1"):
        refused(smartvif("sim", "run", "--nic", card, "--", "true"), 2, "card|SmartNIC")
    inner = smartvif("sim", "run", "--", str(SMARTVIF), "sim", "run", "--", "true")
    refused(inner, 4, "this is a simulated host already")


def test_an_interrupt_is_the_commands_own() -> None:
    """A command that takes Ctrl-C for itself goes on, and its switch with it."""
    program = (
        "import signal, subprocess, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "print('ready', flush=True)\n"
        "signal.sigwait({signal.SIGINT})\n"
        "add = ['ovs-vsctl', '--timeout=5', 'add-port', 'br-int', 'p0r0']\n"
        "sys.exit(5 if subprocess.call(add) == 0 else 1)\n"
    )
    running = subprocess.Popen(
        [SMARTVIF, "sim", "run", "--", sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    os.killpg(running.pid, signal.SIGINT)
    try:
        _, err = running.communicate(timeout=30)
    finally:
        running.kill()
    assert (running.returncode, err) == (5, "")


def test_a_large_card_is_listed_whole() -> None:
    """Four PFs with 256 VFs each: 1024 VFs, each with the representor of its own number."""
    began = time.monotonic()
    words = ("sim", "run", "--nic", "4x256", "--", "smartvif", "nic", "list", "-f", "json")
    answer = smartvif(*words)
    print(f"1024 VFs listed in {time.monotonic() - began:.2f} s")
    assert answer.code == 0, answer.err
    found = {
        (number, vf["number"]): vf["representor"]
        for number, pf in enumerate(json.loads(answer.out)["pfs"])
        for vf in pf["vfs"]
    }
    assert found == {(pf, vf): f"p{pf}r{vf}" for pf in range(4) for vf in range(256)}
