"""The steps that plug a VIF into Open vSwitch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smartvif.control import names
from smartvif.drivers.ovs.rows import SERVER_PATH, OvsPortSpec
from smartvif.model.errors import Invalid
from smartvif.model.vif import SocketMode, VifKind
from smartvif.plug.plans.inputs import PlanInput
from smartvif.plug.plans.relay import relay, trust, vf_steps
from smartvif.plug.steps.links import HybridBridge
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.step import Plan


def _tap(case: PlanInput) -> Plan:
    """A tap in the switch: ours, or one that libvirt makes when the guest starts.

    libvirt takes a tap that is there already only with managed='no', which Nova does not write for
    one of libvirt's own (libvirt.org/formatdomain.html). Where the VIF asks for no port either, the
    port is libvirt's as well (``<virtualport type='openvswitch'>``), and nothing is left to do.
    """
    tap, profile = case.tap(), case.vif.profile
    if profile is not None and profile.create_tap:
        return tap, _in_switch(case, tap.name)
    spec = replace(_port(case, tap.name), mtu_request=case.mtu, awaited=True)
    return (SwitchPort(spec=spec),) if profile is not None and profile.create_port else ()


def _hybrid(case: PlanInput) -> Plan:
    """A Linux bridge for the guest's tap, which libvirt makes, and a veth into the switch."""
    vif = case.vif
    assert vif.bridge_name is not None
    inner, outer = names.hybrid_veth(vif.id)
    bridge = HybridBridge(bridge=vif.bridge_name, inner=inner, outer=outer, mtu=case.mtu)
    return bridge, SwitchPort(spec=_port(case, outer))


def _switch_socket(case: PlanInput) -> Plan:
    """A vhost-user port of a switch that has DPDK."""
    vif = case.vif
    assert vif.vif_name is not None
    path = case.socket  # of both modes: the guest's XML has it as well
    # Each mode is named after its own end: QEMU the server makes the switch a client.
    server = vif.mode is SocketMode.SERVER
    spec = replace(
        _port(case, vif.vif_name),
        type="dpdkvhostuserclient" if server else "dpdkvhostuser",
        options={SERVER_PATH: path} if server else {},
        mtu_request=case.mtu,
    )
    return (SwitchPort(spec=spec),)


def _passthrough(case: PlanInput) -> Plan:
    """The representor in the switch; the guest has the VF."""
    plugged = _in_switch(case, case.representor)
    if not case.with_vf.vf.simulated:
        return *trust(case), plugged
    return case.vf_settings(), plugged, *case.passthrough()


def _forwarder(case: PlanInput) -> Plan:
    """The representor in the switch, the VF in the forwarder, the guest on its socket."""
    relayed = relay(case)
    return *vf_steps(case), _in_switch(case, case.representor), relayed


def _in_switch(case: PlanInput, netdev: str) -> SwitchPort:
    return SwitchPort(spec=_port(case, netdev), mtu=case.mtu)


def _port(case: PlanInput, netdev: str) -> OvsPortSpec:
    """The port with the identifiers that Neutron's agents and OVN look for."""
    vif, vf = case.vif, case.devices
    interface_id = vif.profile.interface_id if vif.profile else None
    ids = {
        "iface-id": interface_id or vif.id,
        "iface-status": "active",
        "attached-mac": vif.address,
        "vm-uuid": case.machine.uuid,
    }
    if vf is not None:
        ids["smartvif-vf"] = str(vf.vf.address)
    return OvsPortSpec(
        bridge=_bridge(case),
        name=netdev,
        owner=vif.id,
        external_ids=ids,
        tag=vif.network.vlan,
        no_vlan=vif.network.vlan is None and not case.agent_sets_vlan,
    )


def _bridge(case: PlanInput) -> str:
    on_switch = case.vif.bridge_name if case.vif.kind is VifKind.OPENVSWITCH else None
    bridge = on_switch or case.vif.network.bridge
    if bridge is None:
        raise Invalid("the network names no bridge", where=f"VIF {case.vif.id}")
    return bridge


PLANS: dict[tuple[VifKind, bool], Callable[[PlanInput], Plan]] = {
    (VifKind.OPENVSWITCH, False): _tap,
    (VifKind.BRIDGE, False): _hybrid,
    (VifKind.VHOSTUSER, False): _switch_socket,
    (VifKind.HOST_DEVICE, True): _passthrough,
    (VifKind.VHOSTUSER, True): _forwarder,
}
"""(the VIF's shape, is there a VF behind it?)"""
