"""The switch inside a NIC (``hw_veb``), which libvirt programs by the guest's XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartvif.model.port import VifType
from smartvif.switches.backend import SwitchBackend

if TYPE_CHECKING:
    from smartvif.switches.backend import PlanTable, VifTable


def _vifs() -> VifTable:
    from smartvif.control import nic_vif

    return nic_vif.VIFS


def _plans() -> PlanTable:
    from smartvif.plug.plans import nic

    return nic.PLANS


NIC: SwitchBackend[None, None] = SwitchBackend(
    name="hw_veb",
    title="the switch inside the NIC",
    vif_types=frozenset({VifType.HW_VEB}),
    plugins=frozenset({VifType.HW_VEB}),
    vifs=_vifs,
    plans=_plans,
    in_nic=True,
)
