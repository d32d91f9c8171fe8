"""Which steps plug a VIF. One table: the VIF's shape, and whether a VF is behind it.

Pure: what must be known of the host comes in as ``Devices``. The steps stand in the order in which
they are taken, so that each finds what it needs, and what is undone last is the VF's own state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from smartvif.control import names
from smartvif.drivers.forwarder import RelaySpec
from smartvif.drivers.ovs_rows import PortSpec
from smartvif.host.facts import Vf
from smartvif.host.representors import Representors
from smartvif.model.errors import Failed, Invalid
from smartvif.model.vif import SocketMode, Vif, VifKind
from smartvif.plug.step import Plan, Step
from smartvif.plug.steps.links import HybridBridge, Tap
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.vf import Relay, SimulatedPassthrough, VfSettings

DEFAULT_MTU = 1500
"""Bytes, where the network says nothing (os-vif's ``network_device_mtu``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The VF behind a VIF, and its representor's netdev."""

    vf: Vf
    representor: str

    @property
    def netdev(self) -> str:
        """The VF's own netdev.

        Raises: Failed, where it has none: something else has the VF.
        """
        if self.vf.netdev is None:
            raise Failed(
                f"VF {self.vf.address} has no netdev here",
                hint=f"it is bound to the driver {self.vf.driver or 'none'}",
            )
        return self.vf.netdev


def devices(vf: Vf, representors: Representors) -> Devices:
    """Look up what a plan must know of ``vf``.

    Raises: NotFound, Ambiguous.
    """
    return Devices(vf=vf, representor=representors.find(vf).netdev)


def plan(vif: Vif, *, vm_uuid: str, devices: Devices | None = None) -> Plan:
    """The steps that plug ``vif`` for the machine ``vm_uuid``.

    Raises: Invalid, for a VIF that Open vSwitch has no plan for, or that needs a VF and has none.
    """
    offloaded = vif.profile is not None and vif.profile.offload is not None
    planner = _PLANS.get((vif.kind, offloaded))
    if planner is None:
        raise Invalid(
            f"Open vSwitch has no plan for a {vif.kind} {'with' if offloaded else 'without'} a VF",
            where=f"VIF {vif.id}",
        )
    if offloaded and devices is None:
        raise Invalid("the VIF names no VF of this host", where=f"VIF {vif.id}")
    return planner(_Case(vif=vif, vm_uuid=vm_uuid, devices=devices))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    vif: Vif
    vm_uuid: str
    devices: Devices | None

    @property
    def mtu(self) -> int:
        return self.vif.network.mtu or DEFAULT_MTU

    @property
    def with_vf(self) -> Devices:
        assert self.devices is not None  # plan() has seen to it
        return self.devices

    def switch_port(self, netdev: str) -> PortSpec:
        """The port with the identifiers that Neutron's agents and OVN look for."""
        vif, vf = self.vif, self.devices
        interface_id = vif.profile.interface_id if vif.profile else None
        ids = {
            "iface-id": interface_id or vif.id,
            "iface-status": "active",
            "attached-mac": vif.address,
            "vm-uuid": self.vm_uuid,
        }
        if vf is not None:
            ids["smartvif-vf"] = str(vf.vf.address)
        return PortSpec(
            bridge=self.bridge,
            name=netdev,
            owner=vif.id,
            external_ids=ids,
            tag=vif.network.vlan,
        )

    @property
    def bridge(self) -> str:
        on_switch = self.vif.bridge_name if self.vif.kind is VifKind.OPENVSWITCH else None
        bridge = on_switch or self.vif.network.bridge
        if bridge is None:
            raise Invalid("the network names no bridge", where=f"VIF {self.vif.id}")
        return bridge


def _tap(case: _Case) -> Plan:
    """A tap in the switch."""
    tap = _make_tap(case)
    return tap, _in_switch(case, tap.name)


def _hybrid(case: _Case) -> Plan:
    """A Linux bridge for the guest's tap, which libvirt makes, and a veth into the switch."""
    vif = case.vif
    assert vif.bridge_name is not None
    inner, outer = names.hybrid_veth(vif.id)
    bridge = HybridBridge(bridge=vif.bridge_name, inner=inner, outer=outer, mtu=case.mtu)
    return bridge, SwitchPort(spec=case.switch_port(outer))


def _switch_socket(case: _Case) -> Plan:
    """A vhost-user port of a switch that has DPDK."""
    vif = case.vif
    assert vif.vif_name is not None
    assert vif.path is not None
    # Each mode is named after its own end: QEMU the server makes the switch a client.
    server = vif.mode is SocketMode.SERVER
    spec = replace(
        case.switch_port(vif.vif_name),
        type="dpdkvhostuserclient" if server else "dpdkvhostuser",
        options={"vhost-server-path": vif.path} if server else {},
        mtu_request=case.mtu,
    )
    return (SwitchPort(spec=spec),)


def _passthrough(case: _Case) -> Plan:
    """The representor in the switch; the guest has the VF."""
    plugged = _in_switch(case, case.with_vf.representor)
    if not case.with_vf.vf.simulated:
        return (plugged,)
    tap = _make_tap(case)
    joined = SimulatedPassthrough(netdev=case.with_vf.netdev, tap=tap.name, mtu=case.mtu)
    return _vf_settings(case), plugged, tap, joined


def _forwarder(case: _Case) -> Plan:
    """The representor in the switch, the VF in the forwarder, the guest on its socket."""
    if not case.with_vf.vf.simulated:
        raise Invalid(
            f"the forwarder cannot take VF {case.with_vf.vf.address}",
            hint="so far it takes the VFs of a simulated SmartNIC; use --mode direct",
        )
    if case.vif.mode is not SocketMode.SERVER:
        raise Invalid(
            "the forwarder connects to the guest's socket, and so QEMU must be the server",
            where=f"VIF {case.vif.id}",
            hint="have the controller say vhostuser_mode=server",
        )
    assert case.vif.path is not None
    relay = RelaySpec(
        port_id=case.vif.id, netdev=case.with_vf.netdev, socket=case.vif.path, mtu=case.mtu
    )
    plugged = _in_switch(case, case.with_vf.representor)
    return _vf_settings(case), plugged, Relay(spec=relay)


def _in_switch(case: _Case, netdev: str) -> Step:
    return SwitchPort(spec=case.switch_port(netdev), mtu=case.mtu)


def _vf_settings(case: _Case) -> Step:
    return VfSettings(netdev=case.with_vf.netdev, mac=case.vif.address, mtu=case.mtu)


def _make_tap(case: _Case) -> Tap:
    vif = case.vif
    return Tap(
        name=vif.vif_name or names.tap(vif.id),
        mac=vif.address,
        multi_queue=vif.profile is not None and vif.profile.multiqueue,
    )


_PLANS: dict[tuple[VifKind, bool], Callable[[_Case], Plan]] = {
    (VifKind.OPENVSWITCH, False): _tap,
    (VifKind.BRIDGE, False): _hybrid,
    (VifKind.VHOSTUSER, False): _switch_socket,
    (VifKind.HOST_DEVICE, True): _passthrough,
    (VifKind.VHOSTUSER, True): _forwarder,
}
