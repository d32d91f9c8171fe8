"""Moves that fail or whose process dies: a machine is whole on one host, the other has nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest

from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import CannotTell, Failed, SmartvifError
from smartvif.operations.migration import destination as receive
from smartvif.operations.migration import source as chain
from smartvif.operations.migration.offer import DestinationCheck, MachineOffer, Move
from smartvif.operations.migration.peer import RemotePeer
from smartvif.plug.steps import codec
from smartvif.plug.steps.step import Step
from smartvif.sim.fleet import Fleet, Member
from smartvif.sim.guest import libvirtd
from smartvif.sim.host import FORWARDER, LIBVIRT
from smartvif.sim.testing import on_simulated_hosts
from tests.support.commands import attach, document, host
from tests.support.migration import (
    HERE,
    TRANSPARENT,
    answered,
    everything,
    give_address,
    healthy,
    in_vm1,
    links,
    set_up_vm1,
    set_up_vm2,
    settled,
)

Act = Callable[[], None]


@dataclass(kw_only=True)
class PeerBeside:
    """The other host of a fleet, asked by calls, with something to happen at a call.

    ``before`` and ``after`` have acts by the names of calls; ``spoil`` is done to each interface
    that is prepared. ``failing`` is the number of the step that fails there while the ports are
    prepared, and ``early``: before its act.
    """

    there: Member
    before: dict[str, Act]
    after: dict[str, Act]
    spoil: Callable[[str], str] = str
    failing: int = 0
    early: bool = False

    @property
    def name(self) -> str:
        """As the settings know it."""
        return self.there.name

    @property
    def libvirt(self) -> str:
        """As the settings have it."""
        return RemotePeer(self.name, host().settings.migration).libvirt

    def check(self, offer: MachineOffer) -> DestinationCheck:
        """Ask the host."""
        found: DestinationCheck = self._call("examine", check, offer)
        return found

    def prepare(self, offer: MachineOffer) -> dict[str, str]:
        """Ask the host, one of whose steps may fail."""
        made = self._call("prepare", prepare, offer, self.failing, early=self.early)
        return {port: self.spoil(xml) for port, xml in made.items()}

    def finish(self, offer: MachineOffer, interfaces: dict[str, str]) -> dict[str, str]:
        """Ask the host."""
        failed: dict[str, str] = self._call("finish", finish, offer, interfaces)
        return failed

    def abandon(self, offer: MachineOffer) -> None:
        """Ask the host."""
        self._call("abandon", abandon, offer)

    def _call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.before.get(name, _nothing)()
        answer = self.there.call(function, *args, **kwargs)
        self.after.get(name, _nothing)()
        return answer


def _nothing() -> None:
    """What happens at most calls."""


def check(offer: MachineOffer) -> DestinationCheck:
    """The host's part."""
    return receive.check(offer, host())


def prepare(offer: MachineOffer, failing: int, *, early: bool) -> dict[str, str]:
    """The host's part, with a step that fails."""
    with failing_step(failing, early=early):
        return receive.prepare(offer, host())


def finish(offer: MachineOffer, interfaces: dict[str, str]) -> dict[str, str]:
    """The host's part."""
    return receive.finish(offer, interfaces, host())


def abandon(offer: MachineOffer) -> None:
    """The host's part."""
    receive.abandon(offer, host())


@contextmanager
def failing_step(number: int, *, early: bool) -> Iterator[list[str]]:
    """Have that one of all steps taken fail, before or after its act; yields what was taken."""
    taken: list[str] = []

    def failing(real: Callable[[Step, Drivers], None]) -> Callable[[Step, Drivers], None]:
        def do(step: Step, drivers: Drivers) -> None:
            taken.append(type(step).__name__)
            fails = len(taken) == number
            if not (fails and early):
                real(step, drivers)
            if fails:
                raise Failed("made to fail")

        return do

    with ExitStack() as stack:
        for kind in codec._KINDS.values():
            stack.enter_context(mock.patch.object(kind, "do", failing(kind.do)))
        yield taken


def steps_there(offer: MachineOffer) -> list[str]:
    """The steps that the host would take for the ports that move with the machine."""
    with failing_step(0, early=False) as taken:
        receive.prepare(offer, host())
    receive.abandon(offer, host())
    return taken


def offered() -> MachineOffer:
    """vm1 as this host describes it."""
    records = [record for record in host().journal.ports() if record.facts.vm == "vm1"]
    return MachineOffer.of("vm1", host().domains.uuid("vm1"), records)


def move(peer: PeerBeside) -> dict[str, str]:
    """Move vm1 to a host that something happens to."""
    return chain.migrate("vm1", host(), peer, lambda _: None)


def fails(one: Member, kind: type[SmartvifError], words: str, peer: PeerBeside) -> None:
    """The move fails so, and the guest notices nothing but that its direct port came back."""
    with pytest.raises(kind, match=words):
        one.call(move, peer)
    assert one.call(journalled_moves) == []


def journalled_moves() -> list[str]:
    """The machines that the host thinks are moving."""
    return [Move.load(uuid, text).offer.vm for uuid, text in host().journal.moves().items()]


def set_up(one: Member) -> dict[str, dict[str, Any]]:
    """Both machines with their ports and addresses; vm1's ports."""
    one.call(set_up_vm2, one.call(attach, "vm2", "normal"))
    return one.call(set_up_vm1, tuple(HERE), attach)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Both hosts while nothing goes on, to be compared with later."""

    fleet: Fleet
    ports: dict[str, dict[str, Any]]
    traces: list[set[str]]
    seen: dict[str, str]

    @classmethod
    def of(cls, fleet: Fleet, ports: dict[str, dict[str, Any]]) -> Picture:
        """As they are now."""
        kept = [ports[mode]["mac"] for mode in TRANSPARENT]
        one = fleet.hosts[0]
        one.call(in_vm1, "echo mine >/tmp/whose")
        seen = one.call(settled, kept)
        traces = [member.call(everything) for member in fleet.hosts]
        return cls(fleet=fleet, ports=ports, traces=traces, seen=seen)

    def same(self) -> None:
        """Nothing is left on the other host, and vm1 is on the first with all its ports."""
        one = self.fleet.hosts[0]
        assert [member.call(everything) for member in self.fleet.hosts] == self.traces
        assert {port["id"] for port in self.ports.values()} <= one.call(healthy).keys()
        assert one.call(in_vm1, "cat /tmp/whose") == "mine\n"
        assert one.call(links, list(self.seen)) == self.seen
        one.call(give_address, self.ports["direct"]["mac"], HERE["direct"])
        assert all(one.call(answered, address) for address in HERE.values())

    def moved(self) -> None:
        """vm1 is on the other host with all its ports, and nothing of it is on the first."""
        one, other = self.fleet.hosts
        assert {port["id"] for port in self.ports.values()} == other.call(healthy).keys()
        assert other.call(in_vm1, "cat /tmp/whose") == "mine\n"
        other.call(give_address, self.ports["direct"]["mac"], HERE["direct"])
        assert all(one.call(answered, address) for address in HERE.values())
        gone = {trace for trace in one.call(everything) - self.traces[0] if " down" not in trace}
        assert gone == set()
        assert not [trace for trace in one.call(everything) if "vm1" in trace]
        for port in self.ports.values():
            other.call(document, "detach", port["id"])
        assert {t for t in other.call(everything) if "vm1" not in t} == self.traces[1]


@on_simulated_hosts(2, nic="2x4", guests=(2, 0))
def test_a_plug_that_fails_there(fleet: Fleet) -> None:
    """Whichever step fails on the other host: all is here as before, and nothing is there."""
    one, other = fleet.hosts
    picture = Picture.of(fleet, set_up(one))
    kinds = other.call(steps_there, one.call(offered))
    assert len(kinds) >= 5, kinds
    for number in range(1, len(kinds) + 1):
        for early in (True, False):
            peer = PeerBeside(there=other, before={}, after={}, failing=number, early=early)
            with pytest.raises((Failed, AssertionError), match="made to fail"):
                one.call(move, peer)
            picture.same()


def forwarder_pid() -> int:
    """The forwarder of the host that this runs on."""
    return int((FORWARDER / "ovs-vswitchd.pid").read_text())


def kill_libvirtd() -> None:
    """End the libvirtd of the host that this runs on."""
    os.kill(int((LIBVIRT / "run/libvirt/libvirtd.pid").read_text()), signal.SIGKILL)


def run_libvirtd(ready: int) -> None:
    """Start it again, for as long as this runs."""
    libvirtd.start(LIBVIRT)
    os.write(ready, b"!")
    signal.pause()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@on_simulated_hosts(2, nic="2x4", guests=(2, 0))
def test_a_move_that_fails(fleet: Fleet) -> None:
    """QEMU or libvirt refuses there, or dies: all is here as before, and nothing is there."""
    one, other = fleet.hosts
    picture = Picture.of(fleet, set_up(one))

    def nothing_there(xml: str) -> str:
        return xml.replace('dev="tap', 'dev="not')

    spoiling = PeerBeside(there=other, before={}, after={}, spoil=nothing_there)
    fails(one, Failed, "libvirt: ", spoiling)
    picture.same()

    forwarder = other.call(forwarder_pid)
    os.kill(forwarder, signal.SIGSTOP)
    with pytest.raises((Failed, AssertionError), match=r"TimedOut|not done"):
        one.call(move, PeerBeside(there=other, before={}, after={}))
    os.kill(forwarder, signal.SIGCONT)
    picture.same()

    other.call(kill_libvirtd)
    before = one.call(everything)
    fails(one, CannotTell, "libvirt does not answer", PeerBeside(there=other, before={}, after={}))
    assert one.call(everything) == before
    readable, writable = os.pipe()
    other.start(run_libvirtd, writable)
    assert os.read(readable, 1) == b"!"
    picture.same()

    # It dies when the ports are there: they stay until somebody can tell that they are not needed.
    dying = PeerBeside(there=other, before={}, after={"prepare": lambda: other.call(kill_libvirtd)})
    with pytest.raises(CannotTell, match="libvirt does not answer"):
        one.call(move, dying)
    assert one.call(journalled_moves) == ["vm1"]
    other.start(run_libvirtd, writable)
    assert os.read(readable, 1) == b"!"
    undone = one.call(document, "reconcile")["ports"]
    assert undone == dict.fromkeys(
        (port["id"] for port in picture.ports.values()), "undo: vm1 was moving to host2"
    )
    picture.same()
    assert one.call(document, "reconcile")["ports"] == {}


@on_simulated_hosts(2, nic="2x4", guests=(2, 0))
def test_a_process_that_dies_before_the_move(fleet: Fleet) -> None:
    """Killed when the other host has the ports: reconcile brings all back, a new move goes on."""
    one, other = fleet.hosts
    picture = Picture.of(fleet, set_up(one))
    dying = PeerBeside(there=other, before={}, after={"prepare": _die})
    with pytest.raises(Failed, match="code 137"):
        one.call(move, dying)
    assert len(other.call(healthy)) == len(TRANSPARENT)
    foreseen = one.call(document, "reconcile", "--dry-run")["ports"]
    assert set(foreseen.values()) == {"undo: vm1 was moving to host2"}
    assert one.call(document, "reconcile")["ports"] == foreseen
    picture.same()

    with pytest.raises(Failed, match="code 137"):
        one.call(move, dying)
    assert one.call(document, "migrate", "--vm", "vm1", "--to", "host2")["failed"] == {}
    picture.moved()


@pytest.mark.parametrize("early", [True, False], ids=["before finish", "after finish"])
@on_simulated_hosts(2, nic="2x4", guests=(2, 0))
def test_a_process_that_dies_after_the_move(fleet: Fleet, early: bool) -> None:
    """Killed when the machine is there: reconcile has the other host take over, and tidies up."""
    one, other = fleet.hosts
    picture = Picture.of(fleet, set_up(one))
    acts = {"finish": _die}
    peer = PeerBeside(there=other, before=acts if early else {}, after={} if early else acts)
    with pytest.raises(Failed, match="code 137"):
        one.call(move, peer)
    assert other.call(document, "reconcile")["ports"] == {}
    done = one.call(document, "reconcile")["ports"]
    assert done == dict.fromkeys(
        (port["id"] for port in picture.ports.values()), "finish: vm1 was moving to host2"
    )
    assert one.call(document, "reconcile")["ports"] == {}
    picture.moved()
