"""Network namespaces with names, as ip-netns(8) makes them, in which nobody speaks unasked."""

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
    """Do something in a network namespace.

    Raises: OSError, where there is none.
    """
    from pyroute2 import netns

    def entered() -> T:
        netns.setns(str(_NAMES / name), flags=0)
        return work()

    # setns(2) is for the calling thread alone: one that ends right after.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(entered).result()


def put_off_ipv6() -> None:
    """Have no link of the present network namespace announce itself by IPv6.

    A VF with a guest's address would do so by that address, and a switch would look for the guest
    there.
    """
    for name in ("all", "default"):
        switch = _IPV6 / name / "disable_ipv6"
        if switch.exists():
            switch.write_text("1")
