"""The steps for a VF and its relay to a guest, the same on every switch."""

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
    return VfioBinding(vf=vf.address), _by_pf(case, mac=case.vif.address)


def trust(case: PlanInput) -> Plan:
    """The trust of a VF that is passed through; its address libvirt sets by the guest's XML.

    libvirt has no word for trust (libvirt.org/formatdomain.html, "PCI Passthrough"). A VF is not
    handed on as another program left it, unless the controller does not say how it is to be.

    Raises: Invalid, for a VF whose PF has no netdev to set it by.
    """
    untrustable = case.with_vf.uplink is None and not case.vif.trusted
    return () if case.vif.trusted is None or untrustable else (_by_pf(case, mac=None),)


def _by_pf(case: PlanInput, *, mac: str | None) -> VfAdminSettings:
    vf, uplink, trusted = case.with_vf.vf, case.with_vf.uplink, case.vif.trusted
    if uplink is None:
        what = "trust" if mac is None else "address"
        raise Invalid(
            f"the {what} of VF {vf.address} is set by its PF's netdev, and {vf.pf} has none",
            where=f"VIF {case.vif.id}",
            hint="bind the PF to its own driver; see: smartvif nic list",
        )
    wanted = VfAdmin(mac=mac, trusted=trusted, spoof_check=True if trusted is False else None)
    return VfAdminSettings(pf=uplink, number=vf.number, wanted=wanted)


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
