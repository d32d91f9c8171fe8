"""Tests on simulated hosts: decorators for test functions, ours and other projects'."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import traceback
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from smartvif.sim import fleet, host
from smartvif.sim.fleet import Fleet
from smartvif.sim.nic import sysfs_follow
from smartvif.sim.nic.nic import NicLayout

P = ParamSpec("P")
Q = ParamSpec("Q")

_LONGEST = 1 << 16  # bytes of a failure that are kept: what a pipe holds unread (pipe(7))


def on_simulated_host(
    nic: str = "1x8", *, guests: int = 0
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Run the function in a process of its own on a fresh simulated host.

    What it raises fails the caller with the traceback as text; what it changes in memory is lost
    with its process.
    """
    wanted = host.SimulatedHost(nic=NicLayout.parse(nic), guests=guests)

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def outside(*args: P.args, **kwargs: P.kwargs) -> None:
            _report(functools.partial(host.run, wanted), functools.partial(test, *args, **kwargs))

        return outside

    return decorate


def on_simulated_hosts(
    count: int, nic: str = "1x8", *, guests: int | tuple[int, ...] = 0
) -> Callable[[Callable[Concatenate[Fleet, P], None]], Callable[P, None]]:
    """Run the function beside that many simulated hosts, which are its first argument.

    The process it runs in is on none of them (``Member.call``). Failures are as on one host.
    Where ``guests`` has a number for each host, every host has room for all of them.
    """
    card = NicLayout.parse(nic)
    if isinstance(guests, int):
        wanted = [host.SimulatedHost(nic=card, guests=guests)] * count
    else:
        wanted = [
            host.SimulatedHost(nic=card, guests=each, visitors=sum(guests) - each)
            for each in guests
        ]

    def decorate(test: Callable[Concatenate[Fleet, P], None]) -> Callable[P, None]:
        @functools.wraps(test)
        def outside(*args: P.args, **kwargs: P.kwargs) -> None:
            def body(hosts: Fleet) -> None:
                test(hosts, *args, **kwargs)

            _report(functools.partial(fleet.run_fleet, wanted), body)

        # pytest takes every other argument for a fixture.
        signature = inspect.signature(test)
        others = list(signature.parameters.values())[1:]
        vars(outside)["__signature__"] = signature.replace(parameters=others)
        return outside

    return decorate


def settled() -> None:
    """On a simulated host, wait until its /sys shows every change of a link that was made before.

    Raises: Failed, TimedOut.
    """
    sysfs_follow.settled(host.SIMULATION)


def _report(run: Callable[[Callable[Q, int]], int], test: Callable[Q, None]) -> None:
    """Have ``run`` run the test in another process, and raise here what it raises there."""
    readable, writable = os.pipe()

    def inside(*args: Q.args, **kwargs: Q.kwargs) -> int:
        try:
            test(*args, **kwargs)
        except BaseException:
            text = traceback.format_exc().encode()
            with os.fdopen(writable, "wb") as out:
                out.write(text[-_LONGEST:])
            return 1
        return 0

    with os.fdopen(readable, "rb") as answer:
        os.set_blocking(readable, False)
        code = run(inside)
        os.close(writable)
        text = (answer.read() or b"").decode(errors="replace")
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code != 0:
        raise AssertionError(text or f"the simulated host ended with code {code}")
