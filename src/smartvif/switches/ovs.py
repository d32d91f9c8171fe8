"""Open vSwitch, Agilio's included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.port import VifType
from smartvif.plug.steps.links import HybridBridge
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.switches.backend import Access, SwitchBackend, SwitchReading

if TYPE_CHECKING:
    from smartvif.control.bind_ovs import HostSwitch
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


def _read(spec: PortSpec, switch: OpenVSwitch, sockets: str) -> SwitchReading[HostSwitch]:
    from smartvif.control.bind_ovs import HostSwitch

    assert spec.bridge is not None  # it is required
    netdevs = None
    if spec.mode.needs_vf:  # a VF whose representor is among them cannot be chosen
        bridge, netdevs = switch.bridge_and_netdevs(spec.bridge)
    else:
        bridge = switch.bridge(spec.bridge)
    facts = HostSwitch(
        datapath_type="netdev" if bridge.datapath_type == "netdev" else "system",
        vhost_user_dir=sockets,
    )
    return SwitchReading(facts=facts, netdevs=netdevs)


def _bind(port: Port, switch: HostSwitch) -> Binding:
    from smartvif.control.bind_ovs import bind

    return bind(port, switch)


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
        read=_read,
        bind=_bind,
    ),
)
