"""Prepare a port: from its VIF its steps and its facts, the same for os-vif and the commands."""

from __future__ import annotations

from smartvif.drivers.vrouter.port import DEFAULT_AGENT_OPTIONS, AgentOptions
from smartvif.model.choices import Mode
from smartvif.model.needs import Needs
from smartvif.model.port_facts import PortFacts, VfIdentity
from smartvif.model.vif import Machine, Vif, VifKind
from smartvif.plug.executor import PortPlan
from smartvif.plug.plans.inputs import PortDevices
from smartvif.plug.steps.step import OnVfNetdev, Plan
from smartvif.switches.plan import plan, switch_of
from smartvif.switches.registry import Backend


def prepare_port(
    vif: Vif,
    machine: Machine,
    found: PortDevices | None,
    *,
    switch_simulated: bool,
    needs: Needs | None = None,
    agent_sets_vlan: bool = False,
    agent: AgentOptions = DEFAULT_AGENT_OPTIONS,
) -> PortPlan:
    """The steps that plug ``vif`` for ``machine``, and the port's facts. Pure.

    ``found`` is the VF of a VIF that has one; ``switch_simulated``: the switch says that it is a
    simulation. ``needs`` None: Nova chose the device. ``agent_sets_vlan``: where the network says
    no VLAN, a controller's agent chooses one. ``agent`` is for the vRouter's agent only.
    Raises: Invalid, for a VIF that its switch has no plan for, or that needs a VF and has none.
    """
    steps = plan(vif, machine=machine, devices=found, agent_sets_vlan=agent_sets_vlan, agent=agent)
    facts = _facts(vif, machine, found, steps, needs, switch_simulated=switch_simulated)
    return PortPlan(port=vif.id, plan=steps, facts=facts)


def _facts(
    vif: Vif,
    machine: Machine,
    found: PortDevices | None,
    steps: Plan,
    needs: Needs | None,
    *,
    switch_simulated: bool,
) -> PortFacts:
    simulated = []
    if found is not None and found.vf.simulated:
        simulated = ["vf", "eswitch"]
        if vif.kind is VifKind.HOST_DEVICE:
            simulated.append("passthrough")
    row = switch_of(vif)
    if switch_simulated:
        simulated.append(row.name)
    in_network = "network" in row.requires
    return PortFacts(
        vif_type=vif.plugin,
        vm=machine.name,
        vm_uuid=machine.uuid,
        vf=None if found is None else _identity(found),
        mode=_mode(vif, found),
        switch=row.name,
        bridge=None if in_network else vif.network.bridge or vif.bridge_name,
        network=vif.network.id if in_network else None,
        mac=vif.address,
        vlan=vif.network.vlan,
        mtu=vif.network.mtu,
        switch_port=_switch_port(steps, row),
        socket=vif.path,
        simulated=tuple(simulated),
        needs=needs,
    )


def _identity(found: PortDevices) -> VfIdentity:
    return VfIdentity(pf=found.vf.pf, number=found.vf.number, address=found.vf.address)


def _switch_port(steps: Plan, row: Backend) -> str | None:
    """The netdev of the step that gives the switch its port."""
    own = [step for step in steps if isinstance(step, row.steps) and isinstance(step, OnVfNetdev)]
    return own[0].vf_netdev if own else None


def _mode(vif: Vif, found: PortDevices | None) -> Mode:
    if found is None:
        return Mode.NORMAL
    return Mode.DIRECT if vif.kind is VifKind.HOST_DEVICE else Mode.VIRTIO_FORWARDER
