"""The VIFs of ports that bypass the host's switch by the one inside the NIC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from smartvif.control.vif_parts import VifBuilder, start, vf
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.port import Binding, Port, VifType, VnicType
from smartvif.model.vif import Vif, VifKind

_PLUGIN = VifType.HW_VEB.value  # no plugin is called that, and Nova makes no object for one


def in_nic(port: Port, binding: Binding) -> Vif:
    """The guest has the VF, whose frames the NIC tags and switches.

    It is not plugged, and os-vif has no object for it: libvirt programs the NIC by its XML.
    """
    started = start(port, binding, VifKind.HOST_DEVICE, _PLUGIN)
    return _tagged(replace(started, dev_address=vf(port)), binding)


def macvtap_in_nic(port: Port, binding: Binding) -> Vif:
    """The guest has virtio, and a macvtap joins it to the VF.

    ``vif_name`` is left for the name of the VF's netdev, which only its host knows.
    """
    started = start(port, binding, VifKind.GENERIC, _PLUGIN)
    return _tagged(replace(started, dev_address=vf(port)), binding)


def _tagged(vif: Vif, binding: Binding) -> Vif:
    """Neutron says the tag as text; '0' is a flat network's (neutron, mech_sriov)."""
    tag = str(binding.details.get("vlan", ""))
    if not (tag.isascii() and tag.isdecimal()):
        raise Invalid(
            f"'{tag}' is not the tag of a VLAN" if tag else "the binding names no VLAN",
            where=f"port {vif.id}",
            hint="vif_details must have vlan, a number; 0 is a network without a tag",
        )
    with checks.about(f"port {vif.id}"):
        vlan = int(tag) and checks.vlan(int(tag))
    return replace(vif, network=replace(vif.network, vlan=vlan))


VIFS: Mapping[tuple[str, VnicType], VifBuilder] = {
    (VifType.HW_VEB, VnicType.DIRECT): in_nic,
    (VifType.HW_VEB, VnicType.MACVTAP): macvtap_in_nic,
    (VifType.HW_VEB, VnicType.VIRTIO_FORWARDER): macvtap_in_nic,
}
