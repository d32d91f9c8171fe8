"""The switch inside a NIC (``hw_veb``), which libvirt programs by the guest's XML."""

from __future__ import annotations

from smartvif.control import nic_vif
from smartvif.model.port import VifType
from smartvif.plug.plans import nic as plans
from smartvif.switches.backend import SwitchBackend

NIC: SwitchBackend[None] = SwitchBackend(
    name="hw_veb",
    title="the switch inside the NIC",
    vif_types=frozenset({VifType.HW_VEB}),
    plugins=frozenset({nic_vif.PLUGIN}),
    vifs=nic_vif.VIFS,
    plans=plans.PLANS,
    in_nic=True,
)
