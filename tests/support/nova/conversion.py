"""Nova's own model of a port, made by Nova's real code without a Neutron to ask."""

from __future__ import annotations

from typing import Any

import os_vif
import pytest
from nova import objects
from nova.network import model, neutron
from nova.pci import utils as pci_utils

from tests.support.nova.differences import NETWORK_ID, Case

VF_NETDEV = "enp3s0f0v1"


class Neutron(neutron.API):  # type: ignore[misc]
    """Nova's Neutron client for one port, whose network is known without asking."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._physical_network = case.physical_network
        self._subnets = case.subnets()

    def _get_physnet_tunneled_info(self, *_: Any) -> tuple[str | None, bool]:
        return self._physical_network, self._physical_network is None

    def _get_floating_ips_by_fixed_and_port(self, *_: Any) -> list[dict[str, str]]:
        return [{"floating_ip_address": "203.0.113.9"}]

    def _get_subnets_from_port(self, *_: Any) -> list[model.Subnet]:
        return [model.Subnet(cidr=cidr) for cidr in self._subnets]


@pytest.fixture(autouse=True, scope="module")
def nova() -> Any:
    """Nova as its compute service starts it, and no Neutron to talk to."""
    os_vif.initialize()
    objects.register_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neutron, "get_client", lambda *_, **__: None)
        patch.setattr(pci_utils, "get_ifname_by_pci_address", lambda *_: VF_NETDEV)
        yield


def nova_model(case: Case) -> Any:
    """Nova's own model of the port."""
    profile = {} if case.pci_slot is None else {"pci_slot": case.pci_slot}
    port = {
        "id": case.port_id,
        "network_id": NETWORK_ID,
        "tenant_id": "tenant",
        "mac_address": case.mac,
        "admin_state_up": True,
        "status": "DOWN",
        "fixed_ips": [{"ip_address": address} for address in case.fixed_ips],
        "binding:vif_type": case.vif_type.value,
        "binding:vnic_type": case.vnic_type.value,
        "binding:vif_details": case.details,
        "binding:profile": profile | ({"trusted": "true"} if case.trusted else {}),
    }
    network = {"id": NETWORK_ID, "name": "net", "tenant_id": "tenant", "mtu": case.mtu}
    vif = Neutron(case)._build_vif_model(None, None, port, [network], [])
    assert vif["delegate_create"] is True
    if not case.profile:
        vif["profile"] = None
    if case.vlan is not None:
        vif["network"]["meta"] |= {"should_create_vlan": True, "vlan": case.vlan}
    return vif
