"""NUMA nodes, their processors and sockets, and the huge pages, read from sysfs.

Documentation/ABI/stable/sysfs-devices-node and Documentation/admin-guide/mm/hugetlbpage.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smartvif.host import sysfs
from smartvif.host.sriov import SYSFS


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages:
    """The host's huge pages of all sizes, in bytes: reserved, and of those not in use."""

    total: int
    free: int


def nodes(root: Path = SYSFS) -> dict[int, frozenset[int]]:
    """The processors of each NUMA node, by its number; empty where the kernel knows of none."""
    folder = f"{root}/devices/system/node"
    found = {}
    for name in sysfs.names(folder):
        number = name.removeprefix("node")
        cpus = sysfs.read(f"{folder}/{name}/cpulist")
        if number.isdecimal() and cpus is not None:
            found[int(number)] = numbers(cpus)
    return found


def sockets(root: Path = SYSFS) -> dict[int, int]:
    """The socket of each NUMA node, by the number of either; nodes without processors have none.

    Documentation/ABI/stable/sysfs-devices-system-cpu, physical_package_id. A node is never in two
    sockets, so its first processor decides.
    """
    found = {}
    for node, cpus in nodes(root).items():
        topology = f"{root}/devices/system/cpu/cpu{min(cpus, default=None)}/topology"
        socket = sysfs.number(f"{topology}/physical_package_id")
        # -1 is one that is not known (include/linux/topology.h).
        if socket is not None and socket >= 0:
            found[node] = socket
    return found


def huge_pages(root: Path = SYSFS) -> HugePages:
    """The host's huge pages."""
    folder = f"{root}/kernel/mm/hugepages"
    total = free = 0
    for name in sysfs.names(folder):
        size = name.removeprefix("hugepages-").removesuffix("kB")
        if size.isdecimal():
            total += int(size) * 1024 * (sysfs.number(f"{folder}/{name}/nr_hugepages") or 0)
            free += int(size) * 1024 * (sysfs.number(f"{folder}/{name}/free_hugepages") or 0)
    return HugePages(total=total, free=free)


def numbers(text: str) -> frozenset[int]:
    """A list as the kernel and libvirt write it: ``0-3,8,^2``; what is no number is left out."""
    found: set[int] = set()
    for part in (part.strip() for part in text.split(",")):
        first, _, last = part.removeprefix("^").partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            continue
        meant = set(range(int(first), int(last or first) + 1))
        found = found - meant if part.startswith("^") else found | meant
    return frozenset(found)
