"""What will be known of a port, from its VIF and its plan: the same for os-vif and the command."""

from __future__ import annotations

from smartvif.drivers.drivers import Drivers
from smartvif.model.needs import Needs
from smartvif.model.port_facts import PortFacts, VfIdentity
from smartvif.model.port_spec import Mode
from smartvif.model.switch import Switch
from smartvif.model.vif import Machine, Vif, VifKind
from smartvif.plug.plan import switch
from smartvif.plug.plans.inputs import PortDevices
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.step import Plan
from smartvif.plug.steps.vrouter import AgentPort


def port_facts(
    vif: Vif,
    machine: Machine,
    found: PortDevices | None,
    steps: Plan,
    drivers: Drivers,
    *,
    needs: Needs | None = None,
) -> PortFacts:
    """The facts of a port that is about to be plugged. ``needs`` None: Nova chose its device."""
    simulated = []
    if found is not None and found.vf.simulated:
        simulated = ["vf", "eswitch"]
        if vif.kind is VifKind.HOST_DEVICE:
            simulated.append("passthrough")
    on_vrouter = switch(vif) is Switch.VROUTER
    if on_vrouter and drivers.need_vrouter().simulated():
        simulated.append("vrouter")
    return PortFacts(
        vif_type=vif.plugin,
        vm=machine.name,
        vm_uuid=machine.uuid,
        vf=None if found is None else _identity(found),
        mode=_mode(vif, found),
        switch=switch(vif),
        bridge=None if on_vrouter else vif.network.bridge or vif.bridge_name,
        network=vif.network.id if on_vrouter else None,
        mac=vif.address,
        vlan=vif.network.vlan,
        mtu=vif.network.mtu,
        switch_port=_switch_port(steps),
        socket=vif.path,
        simulated=tuple(simulated),
        needs=needs,
    )


def _identity(found: PortDevices) -> VfIdentity:
    return VfIdentity(pf=found.vf.pf, number=found.vf.number, address=found.vf.address)


def _switch_port(steps: Plan) -> str | None:
    for step in steps:
        if isinstance(step, SwitchPort):
            return step.spec.name
        if isinstance(step, AgentPort):
            return step.port.netdev
    return None


def _mode(vif: Vif, found: PortDevices | None) -> Mode:
    if found is None:
        return Mode.NORMAL
    return Mode.DIRECT if vif.kind is VifKind.HOST_DEVICE else Mode.VIRTIO_FORWARDER
