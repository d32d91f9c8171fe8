"""Where libvirt runs a guest: as which user, on which processors, with memory of which nodes.

Elements of libvirt's "Domain XML format", sections "CPU Allocation", "CPU Tuning" and "NUMA Node
Tuning", and of its "Capabilities XML format".
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from smartvif.host import numa


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user by number, with the group."""

    uid: int
    gid: int


def qemu_user(capabilities_xml: str) -> User | None:
    """The user that QEMU runs as, or None where libvirt does not change it."""
    for model in ET.fromstring(capabilities_xml).iterfind("host/secmodel"):  # noqa: S314  (libvirt's)
        if model.findtext("model") == "dac":
            uid, _, gid = (model.findtext("baselabel") or "").partition(":")
            if uid.lstrip("+").isdecimal() and gid.lstrip("+").isdecimal():
                return User(uid=int(uid.lstrip("+")), gid=int(gid.lstrip("+")))
    return None


def nodes(domain_xml: str, host: dict[int, frozenset[int]]) -> frozenset[int]:
    """The host's NUMA nodes that a guest is bound to; empty where it is bound to none.

    ``host`` has the processors of each node. The guest's memory decides, which a forwarder reads
    and writes; where that is not bound, its processors do.
    """
    domain = ET.fromstring(domain_xml)  # noqa: S314  (libvirt's own)
    memory = domain.find("numatune/memory")
    if memory is not None and memory.get("nodeset"):
        return numa.numbers(memory.get("nodeset", ""))
    pins = [pin.get("cpuset", "") for pin in domain.iterfind("cputune/vcpupin")]
    everywhere = domain.find("vcpu")
    cpus = frozenset().union(*map(numa.numbers, pins))
    if not pins and everywhere is not None:
        cpus = numa.numbers(everywhere.get("cpuset", ""))
    return frozenset(number for number, near in host.items() if near & cpus)
