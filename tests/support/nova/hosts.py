"""One host with SmartNICs, as Nova's PCI tracker has it and as our pools.

Nova's real tracker reads its real allow-list and makes its real objects of what libvirt would
tell. What is stood in for is sysfs, and the database: it is what the tracker before had in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from nova import context, objects
from nova.conf import CONF
from nova.pci import manager

from smartvif.choose.allow_list.match import Rules, match_all
from smartvif.choose.allow_list.spec import parse
from smartvif.choose.selection.build_pools import PfInventory, build_pools
from smartvif.choose.selection.device_use import DeviceUsers
from smartvif.choose.selection.pool import Guest, Pool
from smartvif.host.pci_devices import PciDevice
from smartvif.host.sriov import EswitchMode, Pf, Vf
from smartvif.model import traits
from smartvif.model.pci import PciAddress
from tests.support.nova.devices import as_nova, stand_in

HOLDER = "9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01"
SERIAL = "MT2108X00001"
SOCKETS = {0: 0, 1: 0, 2: 1}
"""Of each NUMA node of the host."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """A VF. ``tags`` is what its entry in the allow-list says; None: it has none."""

    tags: dict[str, str | None] | None
    is_vdpa: bool = False
    is_taken: bool = False


@dataclass(frozen=True, kw_only=True)
class SmartNic:
    """A PF and its VFs. ``tags`` None: the allow-list has no entry for the PF itself."""

    number: int
    vfs: tuple[Function, ...]
    tags: dict[str, str | None] | None = None
    numa_node: int | None = None
    is_switchdev: bool = True
    vendor: str = "15b3"
    vf_product: str = "101e"

    @property
    def address(self) -> PciAddress:
        """The PF's."""
        return PciAddress(0, 0x10 + self.number, 0, 0)

    def vf(self, index: int) -> PciAddress:
        """One of its VFs'."""
        return PciAddress(0, 0x10 + self.number, 1 + index // 8, index % 8)

    def devices(self) -> list[PciDevice]:
        """The PF and the VFs."""
        pf = PciDevice(
            address=self.address,
            vendor=self.vendor,
            product="101d",
            is_pf=True,
            vf_product=self.vf_product,
            serial=SERIAL,
        )
        vf = PciDevice(
            address=pf.address,
            vendor=self.vendor,
            product=self.vf_product,
            parent=pf.address,
            serial=SERIAL,
        )
        return [pf, *(replace(vf, address=self.vf(index)) for index in range(len(self.vfs)))]

    def entries(self) -> list[str]:
        """The allow-list's, first those of the VFs, because the PF's matches VFs too."""
        found: list[dict[str, str | None]] = [
            {"address": str(self.vf(index)), **function.tags}
            for index, function in enumerate(self.vfs)
            if function.tags is not None
        ]
        if self.tags is not None:
            found.append({"address": str(self.address), **self.tags})
        return [json.dumps(entry) for entry in found]

    def taken(self) -> list[PciAddress]:
        """What somebody has."""
        return [self.vf(index) for index, each in enumerate(self.vfs) if each.is_taken]


def pools(nics: Sequence[SmartNic]) -> tuple[Pool, ...]:
    """Ours."""
    devices = [device for nic in nics for device in nic.devices()]
    specs = [spec for nic in nics for entry in nic.entries() for spec in parse(entry, "nova.conf")]
    verdicts = match_all(specs, devices)
    rules = Rules(
        entries={
            verdict.device.address: None if verdict.first is None else specs[verdict.first]
            for verdict in verdicts
        }
    )
    holders = {address: f"machine {HOLDER}" for nic in nics for address in nic.taken()}
    return build_pools(
        "left", list(map(_card, nics)), DeviceUsers(named=holders), rules, forwarder=True
    )


def _card(nic: SmartNic) -> PfInventory:
    vfs = tuple(
        Vf(
            address=nic.vf(index),
            pf=nic.address,
            number=index,
            vendor=nic.vendor,
            device=nic.vf_product,
            driver="mlx5_core",
            iommu_group=index,
            numa_node=nic.numa_node,
            netdev=f"p{nic.number}v{index}",
            simulated=False,
        )
        for index in range(len(nic.vfs))
    )
    pf = Pf(
        address=nic.address,
        vendor=nic.vendor,
        device="101d",
        driver="mlx5_core",
        numa_node=nic.numa_node,
        netdev=f"p{nic.number}",
        total_vfs=8,
        num_vfs=len(vfs),
        switch_id=None,
        eswitch=EswitchMode.SWITCHDEV if nic.is_switchdev else EswitchMode.LEGACY,
        simulated=False,
        vfs=vfs,
    )
    vdpa = {nic.vf(index) for index, each in enumerate(nic.vfs) if each.is_vdpa}
    names = {traits.SRIOV, traits.TRUSTED} | ({traits.SWITCHDEV} if nic.is_switchdev else set())
    return PfInventory(
        pf=pf,
        traits=frozenset(names),
        vdpa=frozenset(vdpa),
    )


def guest(nodes: Sequence[int]) -> Guest:
    """Where the machine runs, for us."""
    return Guest(nodes=frozenset(nodes), sockets=SOCKETS)


def cells(nodes: Sequence[int]) -> list[Any] | None:
    """Where the machine runs, for Nova."""
    return [objects.InstanceNUMACell(id=node, cpuset=set(), memory=0) for node in nodes] or None


def tracker(nics: Sequence[SmartNic], patch: pytest.MonkeyPatch) -> Any:
    """Nova's tracker of the host, as when nova-compute has been started once more."""
    stand_in(patch, [device for nic in nics for device in nic.devices()])
    first = restarted([], nics, patch)
    found = [described for nic in nics for described in _described(nic)]
    first.update_devices_from_hypervisor_resources(json.dumps(found))
    taken = {str(address) for nic in nics for address in nic.taken()}
    for number, device in enumerate(first.pci_devs):
        device.id, device.instance_uuid, device.request_id = number, None, None
        if device.address in taken:
            device.claim(HOLDER)
    return restarted(first.pci_devs.objects, nics, patch)


def restarted(devices: Sequence[Any], nics: Sequence[SmartNic], patch: pytest.MonkeyPatch) -> Any:
    """A tracker of a host that finds these devices in the database."""
    found = objects.PciDeviceList(objects=list(devices))
    patch.setattr(objects.PciDeviceList, "get_by_compute_node", lambda *_: found)
    node = objects.ComputeNode(id=1, numa_topology=_topology())
    CONF.set_override("device_spec", [entry for nic in nics for entry in nic.entries()], "pci")
    try:
        return manager.PciDevTracker(context.get_admin_context(), node)
    finally:
        CONF.clear_override("device_spec", "pci")


def _topology() -> str:
    """The host's NUMA nodes as Nova keeps them."""
    nothing = {"memory": 0, "cpu_usage": 0, "memory_usage": 0, "siblings": [], "mempages": []}
    sets = {name: set[int]() for name in ("cpuset", "pcpuset", "pinned_cpus")}
    nodes = [
        objects.NUMACell(id=node, socket=socket, **nothing, **sets)
        for node, socket in SOCKETS.items()
    ]
    return str(objects.NUMATopology(cells=nodes)._to_json())


def _described(nic: SmartNic) -> list[dict[str, Any]]:
    """What Nova's libvirt driver would tell."""
    found: list[dict[str, Any]] = []
    for device in nic.devices():
        index = len(found) - 1
        kind = "type-PF" if device.is_pf else "vdpa" if nic.vfs[index].is_vdpa else "type-VF"
        found.append(
            as_nova(device)
            | {
                "dev_type": kind,
                "numa_node": nic.numa_node,
                "dev_id": f"pci_{device.address}",
                "label": f"label_{device.vendor}_{device.product}",
            }
        )
    return found
