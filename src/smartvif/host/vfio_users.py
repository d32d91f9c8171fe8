"""Which processes have PCI functions open by VFIO (Documentation/driver-api/vfio.rst).

Bound to vfio-pci is not in use: many hosts keep all VFs so from the boot on. In use is a group, or
a device, that a process has open. A group can be opened once (drivers/vfio/group.c,
vfio_group_fops_open).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smartvif.host import sysfs
from smartvif.host.function_driver import is_vfio
from smartvif.host.sriov import SYSFS, Pf, Vf
from smartvif.model.known import Absent, Known, Present, Unknown
from smartvif.model.pci import PciAddress

PROC = Path("/proc")
# A group, one without an IOMMU, and a device by iommufd; /dev/vfio/vfio is no function's.
_NODE = re.compile(r"/vfio/((?:noiommu-)?[0-9]+|devices/vfio[0-9]+)$")
_NOT_READ = Unknown(
    "not every process shows here what it has open", where="/proc", hint="run it as root"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenNodes:
    """The nodes below /dev/vfio that processes have open, each with the process.

    ``complete``: every process of this PID namespace was read.
    """

    by: Mapping[str, str]
    complete: bool


def users(
    functions: Iterable[Pf | Vf], root: Path = SYSFS, proc: Path = PROC
) -> dict[PciAddress, Known[str]]:
    """The process that has each function that is bound to vfio-pci, or whose group is open.

    Nothing is read where no function is bound to it: the cost grows with the open files of the
    host. What cannot be told is unknown.
    """
    functions = tuple(functions)
    if not any(is_vfio(function.driver) for function in functions):
        return {}
    nodes = open_nodes(proc)
    return {function.address: _user(function, nodes, root) for function in functions}


def open_nodes(proc: Path = PROC) -> OpenNodes:
    """Every node that a process has open; of several the first."""
    found: dict[str, str] = {}
    names = sorted((name for name in sysfs.names(f"{proc}") if name.isdigit()), key=int)
    # Process 1 is not listed where processes of others are hidden (proc(5), hidepid).
    complete = "1" in names
    for name in names:
        try:
            for node in _nodes(f"{proc}/{name}/fd"):
                found.setdefault(node, f"{_program(proc, name)} {name}")
        except PermissionError:
            complete = False
        except OSError:
            continue  # it has ended
    return OpenNodes(by=found, complete=complete)


def _nodes(folder: str) -> Iterator[str]:
    for name in os.listdir(folder):
        try:
            match = _NODE.search(os.readlink(f"{folder}/{name}"))
        except FileNotFoundError:
            continue  # closed meanwhile
        if match is not None:
            yield match[1]


def _program(proc: Path, name: str) -> str:
    program = sysfs.read(f"{proc}/{name}/comm") or "process"
    return "QEMU" if program.startswith("qemu") else program


def _user(function: Pf | Vf, nodes: OpenNodes, root: Path) -> Known[str]:
    folder = f"{root}/bus/pci/devices/{function.address}"
    for node in _own_nodes(folder):
        if node in nodes.by:
            return Present(f"{nodes.by[node]}, which has /dev/vfio/{node} open")
    if not is_vfio(function.driver):
        return Absent()
    # vfio-pci enables a device while it is open (drivers/vfio/pci/vfio_pci_core.c). So this says of
    # processes in other PID namespaces too, and of those that may not be read.
    enabled = sysfs.number(f"{folder}/enable")
    if enabled:
        return Present("a process that is not visible here, which has it open by VFIO")
    return Absent() if nodes.complete or enabled == 0 else _NOT_READ


def _own_nodes(folder: str) -> Iterator[str]:
    group = sysfs.target(f"{folder}/iommu_group")
    if group is not None:
        yield from (group, f"noiommu-{group}")
    # Documentation/ABI/testing/sysfs-devices-vfio-dev
    yield from (f"devices/{name}" for name in sorted(sysfs.names(f"{folder}/vfio-dev")))
