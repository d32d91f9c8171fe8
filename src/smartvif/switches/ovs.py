"""Open vSwitch, Agilio's included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.port import VifType
from smartvif.plug.steps.links import HybridBridge
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.switches.backend import Access, SwitchBackend

if TYPE_CHECKING:
    from smartvif.model.port import Binding, Port
    from smartvif.model.port_spec import PortSpec
    from smartvif.switches.backend import PlanTable, SocketTable, VifTable


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVSwitchSettings:
    """``database`` is its OVSDB server; ``timeout`` the seconds that one plug may take of it."""

    database: str = "unix:/var/run/openvswitch/db.sock"
    timeout: float = 10.0


def _open(settings: OpenVSwitchSettings) -> OpenVSwitch:
    return OpenVSwitch(Ovsdb(settings.database), timeout=settings.timeout)


def _check(spec: PortSpec, switch: OpenVSwitch) -> None:
    assert spec.bridge is not None  # it is required
    switch.bridge(spec.bridge)


def _bind(port: Port, switch: OpenVSwitch, sockets: str) -> Binding:
    from smartvif.control.bind_ovs import HostSwitch, bind

    assert port.network.bridge is not None
    bridge = switch.bridge(port.network.bridge)
    found = HostSwitch(
        datapath_type="netdev" if bridge.datapath_type == "netdev" else "system",
        vhost_user_dir=sockets,
    )
    return bind(port, found)


def _vifs() -> VifTable:
    from smartvif.control import ovs_vif

    return ovs_vif.VIFS


def _sockets() -> SocketTable:
    from smartvif.control import ovs_vif

    return ovs_vif.SOCKETS


def _plans() -> PlanTable:
    from smartvif.plug.plans import ovs

    return ovs.PLANS


OVS = SwitchBackend(
    name=OpenVSwitch.NAME,
    title=OpenVSwitch.TITLE,
    vif_types=frozenset({VifType.OVS, VifType.AGILIO_OVS}),
    plugins=frozenset({"ovs", "agilio_ovs"}),
    requires=frozenset({"bridge"}),
    refuses=frozenset({"network"}),
    vifs=_vifs,
    sockets=_sockets,
    plans=_plans,
    steps=(HybridBridge, SwitchPort),
    access=Access(
        section="openvswitch",
        settings=OpenVSwitchSettings,
        open=_open,
        check=_check,
        bind=_bind,
    ),
)
