"""The steps that make a relay between a VF and a guest, the same on every switch."""

from __future__ import annotations

from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.host.vf_info import VfAdmin
from smartvif.model.errors import Invalid
from smartvif.model.vif import SocketMode
from smartvif.plug.plans.inputs import PlanInput
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.step import Plan
from smartvif.plug.steps.vf import VfAdminSettings, VfioBinding


def vf_steps(case: PlanInput) -> Plan:
    """The VF with the guest's address, and where the forwarder can take it.

    Raises: Invalid, for a VF whose PF has no netdev to set it by.
    """
    vf = case.with_vf.vf
    if vf.simulated:
        return (case.vf_settings(),)
    if case.with_vf.uplink is None:
        raise Invalid(
            f"the address of VF {vf.address} is set by its PF's netdev, and {vf.pf} has none",
            where=f"VIF {case.vif.id}",
            hint="bind the PF to its own driver; see: smartvif nic list",
        )
    wanted = VfAdmin(mac=case.vif.address, trusted=True if case.vif.trusted else None)
    return (
        VfioBinding(vf=vf.address),
        VfAdminSettings(pf=case.with_vf.uplink, number=vf.number, wanted=wanted),
    )


def relay(case: PlanInput) -> ForwarderRelay:
    """The relay of a VIF behind the forwarder.

    Raises: Invalid, for a socket that the forwarder cannot take.
    """
    vif, vf = case.vif, case.with_vf.vf
    if vif.mode is not SocketMode.SERVER:
        raise Invalid(
            "the forwarder connects to the guest's socket, and so QEMU must be the server",
            where=f"VIF {vif.id}",
            hint="have the controller say vhostuser_mode=server",
        )
    return ForwarderRelay(
        spec=RelaySpec(
            port_id=vif.id,
            socket=case.socket,
            mtu=case.mtu,
            netdev=case.with_vf.netdev if vf.simulated else None,
            pci=None if vf.simulated else vf.address,
        )
    )
