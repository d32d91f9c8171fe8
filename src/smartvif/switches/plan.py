"""The steps that plug a VIF: one table for each switch, by the VIF's shape and its VF.

Pure: what must be known of the host comes in as ``PortDevices``. The steps are in the order in
which they are taken, so that each finds what it needs; the VF's own state is undone last.
"""

from __future__ import annotations

from smartvif.drivers.vrouter.port import DEFAULT_AGENT_OPTIONS, AgentOptions
from smartvif.model.errors import Invalid
from smartvif.model.vif import Machine, Vif
from smartvif.plug.plans.inputs import PlanInput, PortDevices
from smartvif.plug.steps.step import Plan
from smartvif.switches import registry
from smartvif.switches.registry import Backend


def switch_of(vif: Vif) -> Backend:
    """The switch that ``vif`` is for, as the os-vif plugin that it names says.

    Raises: Invalid, for a plugin that goes with no switch.
    """
    found = registry.of_plugin(vif.plugin)
    if found is None:
        raise Invalid(f"no switch goes with the plugin '{vif.plugin}'", where=f"VIF {vif.id}")
    return found


def plan(
    vif: Vif,
    *,
    machine: Machine,
    devices: PortDevices | None = None,
    agent_sets_vlan: bool = False,
    agent: AgentOptions = DEFAULT_AGENT_OPTIONS,
) -> Plan:
    """The steps that plug ``vif`` for ``machine``.

    ``agent_sets_vlan``: an agent of the controller's gives the port a VLAN where the network says
    none, as Neutron's does; else such a port must have none.
    Raises: Invalid, for a VIF that its switch has no plan for, or that needs a VF and has none.
    """
    row = switch_of(vif)
    offloaded = vif.profile is not None and vif.profile.offload is not None
    planner = row.plans().get((vif.kind, offloaded))
    if planner is None:
        raise Invalid(
            f"{row.title} has no plan for a {vif.kind} {'with' if offloaded else 'without'} a VF",
            where=f"VIF {vif.id}",
        )
    if offloaded and devices is None:
        raise Invalid("the VIF names no VF of this host", where=f"VIF {vif.id}")
    return planner(
        PlanInput(
            vif=vif,
            machine=machine,
            devices=devices,
            agent_sets_vlan=agent_sets_vlan,
            agent=agent,
        )
    )
