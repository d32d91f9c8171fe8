"""Nova 34's scheduler, as far as it looks at PCI devices: its objects, its filter, its weigher."""

from __future__ import annotations

import json
import os
import uuid
import warnings
from collections.abc import Sequence
from typing import Any

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "True"  # nova/monkey_patch.py

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nova import context, objects
    from nova.conf import CONF
    from nova.pci import stats, whitelist
    from nova.scheduler import filters, host_manager, weights
    from nova.scheduler.filters.pci_passthrough_filter import PciPassthroughFilter
    from nova.scheduler.weights.pci import PCIWeigher

from smartvif.choose.selection.pool import Pool

_ALLOWED = json.dumps({"vendor_id": "15b3", "product_id": "101e", "physical_network": None})


def pools(found: Sequence[Pool]) -> Any:
    """What a compute service tells of a host: the pools of its free VFs."""
    objects.register_all()
    tracked = stats.PciDeviceStats(
        objects.NUMATopology(cells=[]), dev_filter=whitelist.Whitelist([_ALLOWED])
    )
    for pool in found:
        for address in pool.functions:
            described = {
                "compute_node_id": 1,
                "address": str(address),
                "parent_addr": str(pool.pf),
                "vendor_id": "15b3",
                "product_id": "101e",
                "dev_type": "type-VF",
                "numa_node": pool.numa_node,
            }
            tracked.add_device(objects.PciDevice.create(context.get_admin_context(), described))
    return tracked.to_device_pools_obj()


class NovaScheduler:
    """Some hosts as the scheduler knows them."""

    def __init__(self, hosts: Sequence[tuple[str, Any]]) -> None:
        self._hosts = [_state(name, found) for name, found in hosts]
        self._filters, self._weighers = [PciPassthroughFilter()], [PCIWeigher()]
        self._filter, self._weigh = filters.HostFilterHandler(), weights.HostWeightHandler()

    def schedule(self, ports: int) -> list[str]:
        """The hosts for a machine with so many ports on tunnelled networks, best first."""
        requests = [
            objects.InstancePCIRequest(
                count=1,
                request_id=str(uuid.UUID(int=number)),
                requester_id=str(uuid.UUID(int=number)),
                spec=[{"physical_network": None, "remote_managed": "False"}],
            )
            for number in range(ports)
        ]
        spec = objects.RequestSpec(
            pci_requests=objects.InstancePCIRequests(requests=requests), scheduler_hints={}
        )
        passed = self._filter.get_filtered_objects(self._filters, self._hosts, spec)
        weighed = self._weigh.get_weighed_objects(self._weighers, list(passed), spec)
        return [each.obj.host for each in weighed]


def _state(name: str, found: Any) -> Any:
    state = host_manager.HostState(name, name, None)
    state.pci_stats = stats.PciDeviceStats(objects.NUMATopology(cells=[]), found)
    # Placement proposes a host once: VFs of a Neutron port are none of its resources.
    state.allocation_candidates = [{"allocations": {}, "mappings": {}}]
    return state


CONF.set_default("device_spec", [_ALLOWED], "pci")
