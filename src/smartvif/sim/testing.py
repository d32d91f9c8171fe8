"""Tests on a simulated host: a decorator for test functions, ours and anybody's."""

from __future__ import annotations

import functools
import os
import signal
import traceback
from collections.abc import Callable
from typing import ParamSpec

from smartvif.sim import host
from smartvif.sim.nic import NicLayout

P = ParamSpec("P")

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
            readable, writable = os.pipe()

            def inside() -> int:
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
                code = host.run(wanted, inside)
                os.close(writable)
                text = (answer.read() or b"").decode(errors="replace")
            if code == 128 + signal.SIGINT:
                raise KeyboardInterrupt
            if code != 0:
                raise AssertionError(text or f"the simulated host ended with code {code}")

        return outside

    return decorate
