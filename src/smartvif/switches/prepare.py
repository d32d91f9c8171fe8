"""The facts of a port, from its VIF and its plan: the same for os-vif and the command."""

from __future__ import annotations

from smartvif.drivers.drivers import Drivers
from smartvif.model.choices import Mode
from smartvif.model.needs import Needs
from smartvif.model.port_facts import PortFacts, VfIdentity
from smartvif.model.vif import Machine, Vif, VifKind
from smartvif.plug.plans.inputs import PortDevices
from smartvif.plug.steps.step import OnVfNetdev, Plan
from smartvif.switches.plan import switch_of
from smartvif.switches.registry import Backend


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
    row = switch_of(vif)
    driver = drivers.switches.get(row.name)
    if driver is not None and driver.simulated():
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
