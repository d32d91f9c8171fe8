"""The step that has the forwarder join a VF and a guest, the same on every switch."""

from __future__ import annotations

from smartvif.drivers.forwarder import RelaySpec
from smartvif.model.errors import Invalid
from smartvif.model.vif import SocketMode
from smartvif.plug.case import Case
from smartvif.plug.steps.vf import Relay


def relay(case: Case) -> Relay:
    """The relay of a VIF behind the forwarder.

    Raises: Invalid, for a VF or a socket that the forwarder cannot take.
    """
    vif = case.vif
    if not case.with_vf.vf.simulated:
        raise Invalid(
            f"the forwarder cannot take VF {case.with_vf.vf.address}",
            hint="so far it takes the VFs of a simulated SmartNIC; use --mode direct",
        )
    if vif.mode is not SocketMode.SERVER:
        raise Invalid(
            "the forwarder connects to the guest's socket, and so QEMU must be the server",
            where=f"VIF {vif.id}",
            hint="have the controller say vhostuser_mode=server",
        )
    assert vif.path is not None
    return Relay(
        spec=RelaySpec(port_id=vif.id, netdev=case.with_vf.netdev, socket=vif.path, mtu=case.mtu)
    )
