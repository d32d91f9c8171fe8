"""What a port behind the forwarder needs: facts that keep each rule, and facts that do not."""

from __future__ import annotations

import dataclasses
import os
import pwd
from pathlib import Path

import pytest

from smartvif.drivers.forwarder.engine import EngineCapacity
from smartvif.guest import affinity
from smartvif.guest.affinity import User
from smartvif.guest.xml import shares_memory
from smartvif.host import numa
from smartvif.host.numa import HugePages
from smartvif.host.sriov import Vf
from smartvif.model.errors import Failed, Refused, SmartvifError
from smartvif.model.pci import PciAddress
from smartvif.operations.ports import preflight
from smartvif.operations.ports.preflight import Directory, MachineReadiness, Readiness

QEMU = User(uid=64055, gid=109)
GROUPS = frozenset({109, 36})
SOCKETS = Directory(path=Path("/run/vhu"), mode=0o755, owner=64055, group=109)
READY = Readiness(
    machine=MachineReadiness(name="web", shares_memory=True, user=QEMU, groups=GROUPS),
    sockets=SOCKETS,
    capacity=EngineCapacity(relays=3, most=4, hugepages=True),
    huge_pages=HugePages(total=1 << 30, free=0),
)


def directory(**changed: object) -> Readiness:
    return dataclasses.replace(READY, sockets=dataclasses.replace(SOCKETS, **changed))  # type: ignore[arg-type]


def machine(**changed: object) -> Readiness:
    return dataclasses.replace(READY, machine=dataclasses.replace(READY.machine, **changed))  # type: ignore[arg-type]


def room(**changed: object) -> Readiness:
    return dataclasses.replace(READY, capacity=dataclasses.replace(READY.capacity, **changed))  # type: ignore[arg-type]


NO_PAGES = HugePages(total=0, free=0)


@pytest.mark.parametrize(
    "found",
    [
        READY,
        directory(owner=0, group=36, mode=0o775),
        directory(owner=0, group=0, mode=0o1777),
        directory(owner=0, group=0, mode=0o700, has_acl=True),
        dataclasses.replace(directory(owner=0, mode=0o700), machine=machine(user=None).machine),
        dataclasses.replace(
            directory(owner=7, group=7, mode=0), machine=machine(user=User(uid=0, gid=0)).machine
        ),
        room(most=None, relays=99),
        dataclasses.replace(room(hugepages=False), huge_pages=NO_PAGES),
    ],
)
def test_ready(found: Readiness) -> None:
    """Nothing is in the way, or nobody can tell."""
    preflight.check(found)


@pytest.mark.parametrize(
    ("found", "kind", "what", "hint"),
    [
        (directory(mode=None), Failed, "is not there: /run/vhu", "mkdir -p /run/vhu"),
        (directory(mode=0o577), Failed, "number 64055, may not", "chown 64055:109 /run/vhu"),
        (directory(mode=0o677), Failed, "number 64055, may not", "chown 64055:109 /run/vhu"),
        (directory(owner=0, mode=0o757), Failed, "may not make its socket", "chown"),
        (directory(owner=0, group=0, mode=0o775), Failed, "may not make its socket", "chown"),
        (machine(shares_memory=False), Refused, "memory is not shared", "mode='shared'"),
        (room(relays=4), Refused, "memory for 4 relays, and has 4", "detach"),
        (
            dataclasses.replace(READY, huge_pages=NO_PAGES),
            Failed,
            "from huge pages, and the host has none",
            "vm.nr_hugepages",
        ),
    ],
)
def test_not_ready(found: Readiness, kind: type[SmartvifError], what: str, hint: str) -> None:
    """The error says what is in the way and how to mend it."""
    with pytest.raises(kind, match=what) as caught:
        preflight.check(found)
    assert hint in caught.value.hint
    assert caught.value.where


def test_the_hint_is_what_the_machine_needs() -> None:
    """A machine with the XML of the hint shares its memory."""
    with pytest.raises(Refused) as caught:
        preflight.check(machine(shares_memory=False))
    start, end = caught.value.hint.index("<"), caught.value.hint.rindex(">") + 1
    assert shares_memory(f"<domain>{caught.value.hint[start:end]}</domain>")


def vf(node: int | None) -> Vf:
    return Vf(
        address=PciAddress.parse("0000:04:00.1"),
        pf=PciAddress.parse("0000:03:00.0"),
        number=1,
        vendor="15b3",
        device="101e",
        driver=None,
        iommu_group=None,
        numa_node=node,
        netdev=None,
        simulated=False,
    )


@pytest.mark.parametrize(
    ("node", "nodes", "far"),
    [(0, {1}, True), (0, {0}, False), (0, {0, 1}, False), (None, {1}, False), (0, set(), False)],
)
def test_distance(node: int | None, nodes: set[int], far: bool) -> None:
    """It is said only where the machine is bound to other nodes than the VF's."""
    words = preflight.distance(machine(nodes=frozenset(nodes)), vf(node))
    assert (words is not None) is far
    if words is not None:
        assert "VF 0000:04:00.1 is on NUMA node 0, and machine web on 1" in words
        start, end = words.index("<"), words.rindex(">") + 1
        near = affinity.nodes(f"<domain>{words[start:end]}</domain>", {})
        assert near == {0}


NODES = {0: frozenset({0, 1}), 1: frozenset({2, 3})}


@pytest.mark.parametrize(
    ("xml", "nodes"),
    [
        ("", set()),
        ("<vcpu>2</vcpu>", set()),
        ("<vcpu cpuset='2-3'>2</vcpu>", {1}),
        ("<vcpu cpuset='0-3,^2,^3'>2</vcpu>", {0}),
        ("<vcpu cpuset='0'>2</vcpu><cputune><vcpupin vcpu='0' cpuset='3'/></cputune>", {1}),
        ("<vcpu cpuset='0'>2</vcpu><numatune><memory nodeset='1'/></numatune>", {1}),
        ("<vcpu cpuset='0'>2</vcpu><numatune><memory placement='auto'/></numatune>", {0}),
    ],
)
def test_nodes_of_a_machine(xml: str, nodes: set[int]) -> None:
    """Its memory's, else those of the processors that it may use."""
    assert affinity.nodes(f"<domain>{xml}</domain>", NODES) == nodes


def test_qemus_user() -> None:
    """libvirt says it among its security models; in a session it has no such model."""
    dac = "<model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+109</baselabel>"
    apparmor = "<secmodel><model>apparmor</model><doi>0</doi></secmodel>"
    models = f"{apparmor}<secmodel>{dac}</secmodel>"
    assert affinity.qemu_user(f"<capabilities><host>{models}</host></capabilities>") == QEMU
    assert affinity.qemu_user(f"<capabilities><host>{apparmor}</host></capabilities>") is None


def test_sysfs(tmp_path: Path) -> None:
    """Nodes with their processors, and the huge pages of all sizes."""
    for path, text in {
        "devices/system/node/node0/cpulist": "0-1\n",
        "devices/system/node/node1/cpulist": "2,3\n",
        "devices/system/node/online": "0-1\n",
        "kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "10\n",
        "kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "4\n",
        "kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "1\n",
        "kernel/mm/hugepages/hugepages-1048576kB/free_hugepages": "0\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert numa.nodes(tmp_path) == NODES
    found = numa.huge_pages(tmp_path)
    assert (found.total, found.free) == ((1 << 30) + 10 * (2 << 20), 4 * (2 << 20))
    assert numa.nodes(tmp_path / "none") == {}
    assert numa.huge_pages(tmp_path / "none") == NO_PAGES


def test_a_directory_as_it_is(tmp_path: Path) -> None:
    """Mode and owner are read; what is not a directory is not there."""
    tmp_path.chmod(0o750)
    found = preflight.directory(tmp_path)
    assert (found.mode, found.owner, found.has_acl) == (0o750, os.geteuid(), False)
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "none"):
        assert preflight.directory(path) == Directory(path=path)


def test_groups() -> None:
    """Those of the system's list for a user it knows; the only one it is given for another."""
    root = pwd.getpwuid(0)
    assert 0 in preflight.groups(User(uid=0, gid=root.pw_gid))
    assert preflight.groups(User(uid=123456, gid=77)) == {77}
