"""The speed, the queues and the users of an interface, read from sysfs.

Documentation/ABI/testing/sysfs-class-net and sysfs-class-net-queues.
"""

from __future__ import annotations

from pathlib import Path

from smartvif.host import sysfs
from smartvif.host.sriov import SYSFS


def speed(netdev: str, root: Path = SYSFS) -> int | None:
    """The speed of an interface now, in kbit/s; None where it has no link or does not say.

    The file is in Mbit/s. It says -1, or nothing, where the speed is not known (SPEED_UNKNOWN,
    include/uapi/linux/ethtool.h).
    """
    found = sysfs.number(f"{root}/class/net/{netdev}/speed")
    return found * 1000 if found is not None and found > 0 else None


def queues(netdev: str, root: Path = SYSFS) -> tuple[int, int] | None:
    """The numbers of receive and transmit queues; None where there is no such interface."""
    names = sysfs.names(f"{root}/class/net/{netdev}/queues")
    receive = sum(name.startswith("rx-") for name in names)
    send = sum(name.startswith("tx-") for name in names)
    return (receive, send) if names else None


def above(netdev: str, root: Path = SYSFS) -> tuple[str, ...]:
    """What is on top of an interface, in words: bridges, bonds, VLANs, macvtaps; in order.

    The kernel links to each (net/core/dev.c, __netdev_adjacent_dev_link_neighbour).
    """
    names = sysfs.names(f"{root}/class/net/{netdev}")
    uppers = sorted(name.removeprefix("upper_") for name in names if name.startswith("upper_"))
    return tuple(_in_words(name, root) for name in uppers)


def _in_words(name: str, root: Path) -> str:
    if name == "ovs-system":  # of every bridge of Open vSwitch in the kernel
        return "Open vSwitch"
    return f"bridge {name}" if sysfs.names(f"{root}/class/net/{name}/bridge") else name
