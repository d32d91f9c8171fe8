"""The device request of a port that a controller has bound. Pure."""

from __future__ import annotations

from smartvif.choose.selection.request import DeviceRequest, request
from smartvif.model.port import Port
from smartvif.switches import registry


def device_request(port: Port, vif_type: str) -> DeviceRequest:
    """What a port needs that the controller binds as ``vif_type``.

    Where the VIF type is no switch's own, any host is suitable.
    """
    row = registry.of_vif_type(vif_type)
    if row is None:
        return request(port)
    return request(port, host_traits=row.host_traits, in_nic=row.in_nic)
