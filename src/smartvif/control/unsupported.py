"""VNIC types that a switch cannot carry, and what can be done instead."""

from __future__ import annotations

from smartvif.model.errors import Invalid
from smartvif.model.port import Port, VnicType

_REMEDIES = {
    VnicType.NORMAL: "a port without a VF is not for the switch inside a NIC; ask for 'direct'",
    VnicType.DIRECT: "bind it as 'ovs', 'agilio_ovs' or 'vrouter', which plug its representor",
    VnicType.MACVTAP: "a macvtap bypasses the switch; ask for 'direct', or bind it as 'hw_veb'",
    VnicType.DIRECT_PHYSICAL: "a whole PF has no representor; ask for 'direct' to get a VF",
    VnicType.BAREMETAL: "the port of a machine without a hypervisor is plugged on its own switch",
    VnicType.VIRTIO_FORWARDER: "bind it as 'agilio_ovs' or 'vrouter', which carry its socket",
    VnicType.SMART_NIC: "the port of a machine without a hypervisor is plugged on its SmartNIC",
    VnicType.VDPA: "bind it with vif_type 'ovs' or 'agilio_ovs', which plug its representor",
    VnicType.ACCELERATOR_DIRECT: "the accelerator is not on the switch; ask for 'direct'",
    VnicType.ACCELERATOR_DIRECT_PHYSICAL: "the accelerator is not on the switch; ask for 'direct'",
    VnicType.REMOTE_MANAGED: (
        "its representor is on the SmartNIC, out of this host's reach;"
        " the controller there must bind it as 'ovs'"
    ),
}


def unsupported(port: Port, by: str) -> Invalid:
    """The error for a port whose VNIC type ``by`` cannot carry."""
    return Invalid(
        f"{by} cannot carry VNIC type '{port.vnic_type}'",
        where=f"port {port.id}",
        hint=_REMEDIES[port.vnic_type],
    )
