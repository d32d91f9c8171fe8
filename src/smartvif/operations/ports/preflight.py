"""Check what a port behind the forwarder needs of the host and its machine, beforehand.

``read`` reads; ``check`` and ``distance`` decide. Nothing here changes anything. How long the
path of a socket may be is decided in ``control.bind_ovs``.
"""

from __future__ import annotations

import logging
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from smartvif.context.host import HostContext
from smartvif.drivers.forwarder.engine import EngineCapacity
from smartvif.guest.affinity import User
from smartvif.guest.domains import MachineReading
from smartvif.guest.xml import SHARED_MEMORY
from smartvif.host import numa
from smartvif.host.numa import HugePages
from smartvif.host.sriov import Vf
from smartvif.model.errors import Failed, Refused

_log = logging.getLogger(__name__)

_ACL = "system.posix_acl_access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The directory of the guests' sockets. ``mode`` is None where there is none.

    Where it has an access control list as well, its mode does not show which users may write.
    """

    path: Path
    mode: int | None = None
    owner: int = 0
    group: int = 0
    has_acl: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReadiness:
    """What counts of a machine. ``user`` is QEMU's, None where it is unknown; ``groups`` are its.

    ``nodes`` are the NUMA nodes that it is bound to.
    """

    name: str
    shares_memory: bool
    user: User | None = None
    groups: frozenset[int] = frozenset()
    nodes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """All that was found."""

    machine: MachineReadiness
    sockets: Directory
    capacity: EngineCapacity
    huge_pages: HugePages


def read(vm: str, machine: MachineReading, nodes: frozenset[int], host: HostContext) -> Readiness:
    """Read what ``check`` and ``distance`` decide by, for a machine bound to those NUMA nodes.

    Raises: CannotTell, where the forwarder or libvirt does not answer.
    """
    user = host.domains.qemu_user()
    return Readiness(
        machine=MachineReadiness(
            name=vm,
            shares_memory=machine.shares_memory,
            user=user,
            groups=groups(user) if user is not None else frozenset(),
            nodes=nodes,
        ),
        sockets=directory(Path(host.settings.forwarder.sockets)),
        capacity=host.drivers.need_forwarder().capacity(),
        huge_pages=numa.huge_pages(),
    )


def check(found: Readiness) -> None:
    """Check that a relay can be made, and can serve the machine.

    Raises: Refused, where the machine or the forwarder cannot take it; Failed, where the host is
    not set up for it.
    """
    _check_directory(found.sockets, found.machine)
    if not found.machine.shares_memory:
        raise Refused(
            "its memory is not shared, so that a forwarder could not reach its packets",
            where=f"virtual machine {found.machine.name}",
            hint=f"add {SHARED_MEMORY} to its XML and restart it",
        )
    capacity = found.capacity
    if capacity.most is not None and capacity.relays >= capacity.most:
        raise Refused(
            f"it has memory for {capacity.most} relays, and has {capacity.relays}",
            where="forwarder",
            hint="detach another port, or give it more memory and say for how many relays",
        )
    if capacity.hugepages and not found.huge_pages.total:
        raise Failed(
            "the forwarder takes its memory from huge pages, and the host has none",
            where="/sys/kernel/mm/hugepages",
            hint="sysctl vm.nr_hugepages=1024, and restart the forwarder",
        )


def distance(found: Readiness, vf: Vf) -> str | None:
    """The warning of a VF that is far from the machine's memory, or None.

    Packets then cross from one NUMA node to another: they get through, but slower.
    """
    nodes = found.machine.nodes
    if vf.numa_node is None or not nodes or vf.numa_node in nodes:
        return None
    bound = ", ".join(map(str, sorted(nodes)))
    return (
        f"VF {vf.address} is on NUMA node {vf.numa_node}, and machine {found.machine.name} on"
        f" {bound}: to have both together, take another PF's VF, or put"
        f" <numatune><memory mode='strict' nodeset='{vf.numa_node}'/></numatune> into its XML"
    )


def warn_of_distance(found: Readiness, vf: Vf) -> None:
    """Log a warning where the VF is far from the machine's memory."""
    words = distance(found, vf)
    if words is not None:
        _log.warning("%s", words)


def _may_write(directory: Directory, user: User, groups: frozenset[int]) -> bool:
    """Whether the mode lets the user make files there, as inode(7) has it."""
    assert directory.mode is not None
    if user.uid == 0:
        return True
    if user.uid == directory.owner:
        wanted = stat.S_IWUSR | stat.S_IXUSR
    elif directory.group in groups:
        wanted = stat.S_IWGRP | stat.S_IXGRP
    else:
        wanted = stat.S_IWOTH | stat.S_IXOTH
    return directory.mode & wanted == wanted


def _check_directory(sockets: Directory, machine: MachineReadiness) -> None:
    if sockets.mode is None:
        raise Failed(
            f"the directory for the guests' sockets is not there: {sockets.path}",
            where="forwarder",
            hint=f"mkdir -p {sockets.path}, and let QEMU's user write there",
        )
    user = machine.user
    if user is None or sockets.has_acl or _may_write(sockets, user, machine.groups):
        return
    raise Failed(
        f"QEMU's user, number {user.uid}, may not make its socket in {sockets.path}",
        where="forwarder",
        hint=f"chown {user.uid}:{user.gid} {sockets.path}",
    )


def directory(path: Path) -> Directory:
    """A directory as it is."""
    try:
        found = path.stat()
    except OSError:
        return Directory(path=path)
    if not stat.S_ISDIR(found.st_mode):
        return Directory(path=path)
    return Directory(
        path=path,
        mode=stat.S_IMODE(found.st_mode),
        owner=found.st_uid,
        group=found.st_gid,
        has_acl=_ACL in os.listxattr(path),
    )


def groups(user: User) -> frozenset[int]:
    """The groups that libvirt gives the user, those of the system's own list (virGetGroupList)."""
    try:
        name = pwd.getpwuid(user.uid).pw_name
    except KeyError:
        return frozenset({user.gid})
    return frozenset({*os.getgrouplist(name, user.gid)})
