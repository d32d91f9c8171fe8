"""Several simulated hosts side by side, joined by a network between them: the underlay.

All are in one outer set of namespaces and share its users and its processes. Each has mounts,
network, IPC and name of its own, so that files, sockets and interfaces have the same names on each
of them. Between them is a Linux bridge in the outer network namespace, and every uplink of every
SmartNIC ends there.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from smartvif.drivers.kernel.links import Links
from smartvif.model.errors import Failed, Invalid, SmartvifError
from smartvif.sim import host as single
from smartvif.sim.guest.image import GuestImage
from smartvif.sim.host import SimulatedHost, Underlay
from smartvif.sim.nic import nic
from smartvif.sim.process import namespaces, netns

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

UNDERLAY = "underlay"
MTU = 1600  # bytes on the underlay: a guest's 1500 and what a tunnel puts around them
_MOST = 254  # hosts in 192.0.2.0/24, the network of examples (RFC 5737)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running(Generic[T]):
    """A function that runs in a process of its own. ``where`` names the host.

    Where the process ``stays``, it is there when the function has returned.
    """

    where: str
    process: int
    answer: Connection
    stays: bool

    def result(self) -> T:
        """Wait for it, once: what the function returned.

        Raises: what the function raised, if it is a SmartvifError that can be pickled; anything
        else as AssertionError. Both have the traceback's text. Failed, where the process was
        killed.
        """
        try:
            returned, value = self.answer.recv()
        except EOFError as error:
            what = f"its process ended with code {self._exit_code()}"
            raise Failed(what, where=self.where) from error
        finally:
            self.answer.close()
        if not self.stays:
            self._exit_code()
        if returned:
            result: T = value
            return result
        raise value

    def _exit_code(self) -> int:
        return namespaces.exit_code(os.waitpid(self.process, 0)[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A host of the fleet. ``address`` is the one of its p0; ``process`` keeps its namespaces."""

    name: str
    address: str
    process: int
    environment: dict[str, str]

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a process on the host; what it returned.

        What it changes in memory is lost with its process, and daemons that it starts end with it.
        Raises: as ``Running.result``.
        """
        return self.start(function, *args, **kwargs).result()

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Running[T]:
        """Begin a ``call``. It ends with the thread that began it, at the latest."""
        return _fork(self.name, partial(self._here, partial(function, *args, **kwargs)))

    def run(self, main: Callable[[], int]) -> int:
        """Run ``main`` in a process on the host that may become another program; its exit code."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                namespaces.die_with_parent()
                code = namespaces.guarded(partial(self._here, main))
            finally:
                os._exit(code)
        with namespaces.interrupts_ignored():
            return namespaces.exit_code(os.waitpid(child, 0)[1])

    def _here(self, function: Callable[[], T]) -> T:
        namespaces.enter(self.process)
        os.environ.update(self.environment)
        return function()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The hosts: host1, host2, ..."""

    hosts: tuple[Member, ...]


def run_fleet(hosts: Sequence[SimulatedHost], main: Callable[[Fleet], int]) -> int:
    """Make the hosts, run ``main`` beside them, take everything away, and return its exit code.

    Each p0 is up, with MTU 1600 and address 192.0.2.N/24 on hostN; the other uplinks are in the
    Open vSwitch bridge of their host, so that the bridges are one network. The hosts start at the
    same time; where one cannot, everything ends, and its error is printed and gives the exit code.

    Raises: as ``host.run``; Invalid, where it is more hosts than addresses.
    """
    if len(hosts) > _MOST:
        raise Invalid(f"{len(hosts)} are too many hosts", where="sim", hint=f"at most {_MOST}")
    wanted = [(host, single.prepared(host)) for host in hosts]
    return namespaces.run(partial(_beside, wanted, main))


def _beside(
    wanted: Sequence[tuple[SimulatedHost, GuestImage | None]], main: Callable[[Fleet], int]
) -> int:
    single.find_daemons()
    namespaces.mount("tmpfs", "/run", kind="tmpfs")
    single.SIMULATION.mkdir()  # no host is to be made by ``main`` either
    _make_underlay()
    addresses = [f"192.0.2.{number}" for number in range(1, len(wanted) + 1)]
    outer = f"/proc/{os.getpid()}/ns/net"
    hosts = [
        _fork(
            f"host{number}",
            partial(_become, number, host, guest_image, addresses, outer),
            stays=True,
        )
        for number, (host, guest_image) in enumerate(wanted, 1)
    ]
    waiting: dict[object, Running[dict[str, str]]] = {host.answer: host for host in hosts}
    environments = {}
    while waiting:
        for answer in wait([host.answer for host in waiting.values()]):
            ready = waiting.pop(answer)
            environments[ready.where] = ready.result()
            _log.info("%s is up", ready.where)
    members = (
        Member(
            name=host.where,
            address=address,
            process=host.process,
            environment=environments[host.where],
        )
        for host, address in zip(hosts, addresses, strict=True)
    )
    fleet = Fleet(hosts=tuple(members))
    for member in fleet.hosts:
        _introduce(member, fleet)
    return main(fleet)


def _introduce(member: Member, fleet: Fleet) -> None:
    """Show a host where the files of every host are: by a link to the root of its process."""
    directory = Path(f"/proc/{member.process}/root{single.FLEET}")
    directory.mkdir()
    for each in fleet.hosts:
        (directory / each.name).symlink_to(f"/proc/{each.process}/root")


def _make_underlay() -> None:
    netns.put_off_ipv6()
    links = Links()
    links.add_bridge(UNDERLAY)
    links.set_up(UNDERLAY)
    links.close()


def _become(
    number: int,
    host: SimulatedHost,
    guest_image: GuestImage | None,
    addresses: Sequence[str],
    outer: str,
) -> dict[str, str]:
    """Make this process the host, with the daemons as its children; returns their variables."""
    name, address = f"host{number}", addresses[number - 1]
    peers = tuple(each for each in addresses if each != address)
    try:
        namespaces.separate(name)
        single.make_hardware(host)
        uplinks = [nic.uplink(pf) for pf in range(host.nic.pfs)]
        macs = {uplink: f"{nic.mac(uplink)[:-2]}{number:02x}" for uplink in uplinks}
        _connect(name, address, macs, outer)
        environment = single.start(host, guest_image, Underlay(address=address, peers=peers))
        for uplink in uplinks[1:]:
            single.add_uplink(uplink)
        for uplink, mac in macs.items():
            (single.SIMULATION / "sys/class/net" / uplink / "address").write_text(f"{mac}\n")
        (single.SIMULATION / "sys/class/net" / nic.uplink(0) / "mtu").write_text(f"{MTU}\n")
        single.show_sysfs()
    except SmartvifError as error:
        error.where = f"{name}: {error.where}"
        raise
    return environment


def _connect(name: str, address: str, macs: dict[str, str], outer: str) -> None:
    """Take the far ends of all uplinks to the bridge in the network namespace ``outer``.

    The card's own MAC addresses are the same on every host, so each uplink is given another.
    """
    here, there = Links(), Links(outer)
    for pf, (uplink, mac) in enumerate(macs.items()):
        port = f"{name}{uplink}"
        here.set_mac(uplink, mac)
        _ip("link", "set", nic.wire(pf), "name", port)
        here.move(port, outer)
        there.set_up(port, mtu=MTU)
        there.set_master(port, UNDERLAY)
    _ip("address", "add", f"{address}/24", "dev", nic.uplink(0))
    here.set_up(nic.uplink(0), mtu=MTU)
    here.close()
    there.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _fork(where: str, function: Callable[[], T], *, stays: bool = False) -> Running[T]:
    """Run the function in a child, which then ends, or ``stays`` until its parent does."""
    ours, theirs = Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _answer(theirs, function, parent, stays=stays)
    theirs.close()
    return Running(where=where, process=child, answer=ours, stays=stays)


def _answer(
    answer: Connection, function: Callable[[], Any], parent: int, *, stays: bool
) -> NoReturn:
    try:
        namespaces.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)  # it was quicker
        try:
            answer.send((True, function()))
        except BaseException as error:
            answer.send((False, _portable(error)))
        sys.stdout.flush()
        sys.stderr.flush()
        while stays:
            signal.pause()
    finally:
        os._exit(0)


def _portable(error: BaseException) -> Exception:
    """The error as another process can raise it, with the traceback's text."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, SmartvifError):
        error.add_note(text)
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
        except Exception:
            return AssertionError(text)
        return error
    return AssertionError(text)
