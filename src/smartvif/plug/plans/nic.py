"""The steps for a VIF on the switch inside the NIC (hw_veb).

Its MAC address and VLAN are in the guest's XML, by which libvirt programs the NIC. Trust is all
that libvirt has no word for (libvirt.org/formatdomain.html, "PCI Passthrough").
"""

from __future__ import annotations

from collections.abc import Callable

from smartvif.host.vf_info import VfAdmin
from smartvif.model.errors import Invalid
from smartvif.model.vif import VifKind
from smartvif.plug.plans.inputs import PlanInput
from smartvif.plug.steps.step import Plan
from smartvif.plug.steps.vf import VfAdminSettings


def _passthrough(case: PlanInput) -> Plan:
    """The guest has the VF."""
    if not case.vif.trusted:
        return ()
    if case.devices is None or case.devices.uplink is None:
        raise Invalid(
            "a trusted VF is set by its PF's netdev, and none is known",
            where=f"VIF {case.vif.id}",
        )
    # A VF is set wholly: what libvirt will set when the guest starts is said as well.
    wanted = VfAdmin(mac=case.vif.address, vlan=case.vif.network.vlan or 0, trusted=True)
    number = case.devices.vf.number
    return (VfAdminSettings(pf=case.devices.uplink, number=number, wanted=wanted),)


PLANS: dict[tuple[VifKind, bool], Callable[[PlanInput], Plan]] = {
    (VifKind.HOST_DEVICE, False): _passthrough,
}
"""(the VIF's shape, is there a representor in a switch behind it?)"""
