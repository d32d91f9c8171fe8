"""Network namespaces with names, as ip-netns(8) makes them, without unsolicited IPv6 traffic."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_NAMES = Path("/run/netns")
_IPV6 = Path("/proc/sys/net/ipv6/conf")


def make(name: str) -> None:
    """Make a network namespace, without IPv6.

    Raises: OSError.
    """
    from pyroute2 import netns

    netns.create(str(_NAMES / name))
    inside(name, put_off_ipv6)


def inside(name: str, work: Callable[[], T]) -> T:
    """Run ``work`` in a network namespace; returns its result.

    Raises: OSError, where there is none.
    """
    from pyroute2 import netns

    def entered() -> T:
        netns.setns(str(_NAMES / name), flags=0)
        return work()

    # setns(2) changes the calling thread only: a thread that ends right after.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(entered).result()


def put_off_ipv6() -> None:
    """Disable IPv6 in the present network namespace, so that no link announces itself.

    A VF with a guest's address would announce that address, and a switch would learn the guest
    there.
    """
    for name in ("all", "default"):
        switch = _IPV6 / name / "disable_ipv6"
        if switch.exists():
            switch.write_text("1")
