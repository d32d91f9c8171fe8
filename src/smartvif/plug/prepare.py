"""What people will ask of a port: the same, whether os-vif plugged it or the command."""

from __future__ import annotations

from typing import Any

from smartvif.drivers.drivers import Drivers
from smartvif.model.switch import Switch
from smartvif.model.vif import Machine, Vif, VifKind
from smartvif.plug.plan import switch
from smartvif.plug.plans.inputs import PortDevices
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.step import Plan
from smartvif.plug.steps.vrouter import AgentPort


def port_facts(
    vif: Vif, machine: Machine, found: PortDevices | None, steps: Plan, drivers: Drivers
) -> dict[str, Any]:
    """The facts for the journal, with the keys of docs/reference/cli.md."""
    simulated = []
    if found is not None and found.vf.simulated:
        simulated = ["vf", "eswitch"]
        if vif.kind is VifKind.HOST_DEVICE:
            simulated.append("passthrough")
    on_vrouter = switch(vif) is Switch.VROUTER
    if on_vrouter and drivers.need_vrouter().simulated():
        simulated.append("vrouter")
    return {
        "vif_type": vif.plugin,
        "vm": machine.name,
        "mode": _mode(vif, found),
        "switch": str(switch(vif)),
        "bridge": None if on_vrouter else vif.network.bridge or vif.bridge_name,
        "network": vif.network.id if on_vrouter else None,
        "mac": vif.address,
        "vlan": vif.network.vlan,
        "mtu": vif.network.mtu,
        "pf": str(found.vf.pf) if found is not None else None,
        "switch_port": _switch_port(steps),
        "socket": vif.path,
        "simulated": simulated,
        "needs": None,
    }


def _switch_port(steps: Plan) -> str | None:
    for step in steps:
        if isinstance(step, SwitchPort):
            return step.spec.name
        if isinstance(step, AgentPort):
            return step.port.netdev
    return None


def _mode(vif: Vif, found: PortDevices | None) -> str:
    if found is None:
        return "normal"
    return "direct" if vif.kind is VifKind.HOST_DEVICE else "virtio-forwarder"
