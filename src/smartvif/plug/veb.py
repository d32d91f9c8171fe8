"""The steps for a VIF that no switch of the host has, but the one inside the NIC (hw_veb).

Its MAC address and VLAN are in the guest's XML, by which libvirt programs the NIC. Only trust is
left to do.
"""

from __future__ import annotations

from collections.abc import Callable

from smartvif.model.errors import Invalid
from smartvif.model.vif import VifKind
from smartvif.plug.case import Case
from smartvif.plug.step import Plan
from smartvif.plug.steps.veb import VfTrust


def _passthrough(case: Case) -> Plan:
    """The guest has the VF."""
    if not case.vif.trusted:
        return ()
    if case.devices is None or case.devices.uplink is None:
        raise Invalid(
            "a trusted VF is set by its PF's netdev, and none is known",
            where=f"VIF {case.vif.id}",
        )
    return (VfTrust(pf=case.devices.uplink, number=case.devices.vf.number),)


PLANS: dict[tuple[VifKind, bool], Callable[[Case], Plan]] = {
    (VifKind.HOST_DEVICE, False): _passthrough,
}
"""(the VIF's shape, is there a representor in a switch behind it?)"""
