"""What people will ask of a port: the same, whether os-vif plugged it or the command."""

from __future__ import annotations

from typing import Any

from smartvif.model.vif import Vif, VifKind
from smartvif.plug.plan import Devices
from smartvif.plug.step import Plan
from smartvif.plug.steps.ovs import SwitchPort


def port_facts(vif: Vif, machine: str, found: Devices | None, steps: Plan) -> dict[str, Any]:
    """The facts for the journal, with the keys of docs/reference/cli.md.

    ``machine`` is the name of libvirt's domain.
    """
    simulated = []
    if found is not None and found.vf.simulated:
        simulated = ["vf", "eswitch"]
        if vif.kind is VifKind.HOST_DEVICE:
            simulated.append("passthrough")
    return {
        "vif_type": vif.plugin,
        "vm": machine,
        "mode": _mode(vif, found),
        "switch": "ovs",
        "bridge": vif.network.bridge or vif.bridge_name,
        "mac": vif.address,
        "vlan": vif.network.vlan,
        "mtu": vif.network.mtu,
        "pf": str(found.vf.pf) if found is not None else None,
        "switch_port": next(step.spec.name for step in steps if isinstance(step, SwitchPort)),
        "socket": vif.path,
        "simulated": simulated,
    }


def _mode(vif: Vif, found: Devices | None) -> str:
    if found is None:
        return "normal"
    return "direct" if vif.kind is VifKind.HOST_DEVICE else "virtio-forwarder"
