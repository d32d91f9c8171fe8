"""What is plugged: the same requests, as the same os-vif objects, for every side."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from smartvif.control import names
from smartvif.sim.host import BRIDGE
from smartvif.sim.nic import nic

VM = "9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01"
MTU = 1500


class Kind(StrEnum):
    """What the port is."""

    REPRESENTOR = "representor"
    TAP = "TAP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One port. A representor's ``number`` is that of its VF on the card's first PF."""

    kind: Kind
    number: int

    @property
    def id(self) -> str:
        """The port's identifier."""
        return f"{self.number:08x}-0000-4000-8000-000000000000"

    @property
    def mac(self) -> str:
        """The guest's MAC address."""
        return "fa:16:" + self.number.to_bytes(4, "big").hex(":")

    @property
    def vf(self) -> str:
        """The PCI address of the VF."""
        return str(nic.vf_address(0, self.number))

    @property
    def netdev(self) -> str:
        """The switch's port."""
        return names.tap(self.id) if self.kind is Kind.TAP else nic.representor(0, self.number)

    @property
    def external_ids(self) -> dict[str, str]:
        """What the Interface row must say, from either side."""
        return {
            "iface-id": self.id,
            "iface-status": "active",
            "attached-mac": self.mac,
            "vm-uuid": VM,
        }


def instance() -> Any:
    """The machine as os-vif has it."""
    from os_vif.objects.instance_info import InstanceInfo

    return InstanceInfo(uuid=VM, name="bench", project_id="bench")


def vif(case: Case) -> Any:
    """The object that Nova would make for ``case``, with the datapath type of the bridge."""
    from os_vif.objects import vif as osv
    from os_vif.objects.network import Network

    network = Network(id=VM, bridge=BRIDGE, mtu=MTU)
    profile = {"interface_id": case.id, "datapath_type": "netdev"}
    common = {"id": case.id, "address": case.mac, "network": network, "plugin": "ovs"}
    if case.kind is Kind.TAP:
        return osv.VIFOpenVSwitch(
            **common,
            vif_name=case.netdev,
            bridge_name=BRIDGE,
            port_profile=osv.VIFPortProfileOpenVSwitch(
                **profile, create_port=True, create_tap=True
            ),
        )
    offload = {"representor_name": names.tap(case.id), "representor_address": case.vf}
    return osv.VIFHostDevice(
        **common,
        dev_type="ethernet",
        dev_address=case.vf,
        port_profile=osv.VIFPortProfileOVSRepresentor(
            **profile, **offload, datapath_offload=osv.DatapathOffloadRepresentor(**offload)
        ),
    )


def vrouter_vif(case: Case) -> Any:
    """The object that Nova would make for ``case`` on a host with the vRouter."""
    from os_vif.objects import vif as osv
    from os_vif.objects.network import Network

    network = Network(id=VM, mtu=MTU)
    common = {"id": case.id, "address": case.mac, "network": network, "plugin": "vrouter"}
    if case.kind is Kind.TAP:
        return osv.VIFGeneric(**common, vif_name=case.netdev)
    offload = {"representor_name": names.tap(case.id), "representor_address": case.vf}
    return osv.VIFHostDevice(
        **common,
        dev_type="ethernet",
        dev_address=case.vf,
        port_profile=osv.VIFPortProfileBase(
            datapath_offload=osv.DatapathOffloadRepresentor(**offload)
        ),
    )
