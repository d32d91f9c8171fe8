"""The os-vif plugin ``agilio_ovs``: Nova's ports on Open vSwitch, by the plans of ``plug``.

os-vif loads it by the entry point of that name. One plugin whose constructor raises leaves every
plugin of the process unusable (os_vif/__init__.py, initialize), so nothing is opened or read before
the first port is plugged.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from os_vif import objects
from os_vif.plugin import PluginBase
from oslo_config import cfg

from smartvif.drivers.forwarder import Forwarder
from smartvif.drivers.ovs import OpenVSwitch
from smartvif.drivers.ovsdb import Ovsdb
from smartvif.host import facts
from smartvif.host.representors import Representors
from smartvif.model.errors import CannotTell, Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.vif import Offload, PortProfile, ProfileKind, Vif, VifKind
from smartvif.openstack.convert import from_osvif
from smartvif.openstack.options import AGILIO_OVS
from smartvif.plug import apply
from smartvif.plug.journal import Journal
from smartvif.plug.plan import Devices, devices, plan
from smartvif.plug.record import port_facts
from smartvif.plug.step import World

NAME = "agilio_ovs"
_GROUP = f"os_vif_{NAME}"

_Versions = tuple[str, str]
_BASE = {ProfileKind.BASE: ("1.0", "1.1")}
_OPENVSWITCH = {ProfileKind.OPENVSWITCH: ("1.0", "1.4")}
_REPRESENTOR = {ProfileKind.OVS_REPRESENTOR: ("1.0", "1.4")}

SUPPORTED: dict[VifKind, tuple[_Versions, dict[ProfileKind, _Versions]]] = {
    VifKind.HOST_DEVICE: (("1.0", "1.0"), _BASE | _OPENVSWITCH | _REPRESENTOR),
    # vif_name, which names the switch's port, is there since 1.1.
    VifKind.VHOSTUSER: (("1.1", "1.1"), _BASE | _OPENVSWITCH | _REPRESENTOR),
    # create_tap is there since 1.4.
    VifKind.OPENVSWITCH: (("1.0", "1.0"), {ProfileKind.OPENVSWITCH: ("1.4", "1.4")}),
    VifKind.BRIDGE: (("1.0", "1.0"), _BASE | _OPENVSWITCH),
}
"""The least and the greatest version of each class, and of the port profiles it may have."""

_NEEDED = {VifKind.BRIDGE: ("bridge_name",), VifKind.VHOSTUSER: ("vif_name", "path")}


class AgilioOvsPlugin(PluginBase):  # type: ignore[misc]  # os-vif is not followed by mypy
    """Plugs and unplugs the ports of one host. Many threads may use it."""

    CONFIG_OPTS: ClassVar[list[cfg.Opt]] = AGILIO_OVS

    def describe(self) -> objects.host_info.HostPluginInfo:
        """What it plugs, as an ``os_vif.objects.host_info.HostPluginInfo``."""
        info = objects.host_info
        return info.HostPluginInfo(
            plugin_name=NAME,
            vif_info=[
                info.HostVIFInfo(
                    vif_object_name=str(kind),
                    min_version=least,
                    max_version=greatest,
                    supported_port_profiles=[
                        info.HostPortProfileInfo(
                            profile_object_name=str(profile), min_version=first, max_version=last
                        )
                        for profile, (first, last) in profiles.items()
                    ],
                )
                for kind, ((least, greatest), profiles) in SUPPORTED.items()
            ],
        )

    def plug(self, vif: Any, instance_info: Any) -> None:
        """Plug an ``os_vif.objects.vif.VIFBase`` for an ``InstanceInfo``, or change nothing.

        Raises: Invalid, NotFound, Ambiguous, Refused (the VF or the port is another's), StepFailed,
        CannotTell. os-vif makes a PlugException of each, with its text.
        """
        value = _checked(from_osvif(vif))
        found = self._devices(value)
        steps = plan(value, vm_uuid=instance_info.uuid, devices=found)
        apply.plug(
            value.id,
            steps,
            self._journal,
            self._world,
            vf=str(found.vf.address) if found is not None else None,
            facts=port_facts(value, instance_info.name, found, steps),
        )

    def unplug(self, vif: Any, instance_info: Any) -> None:
        """Undo what was done for the VIF of that id; nothing, or half of it, is fine too.

        The id alone tells what that was. The PCI address that Nova passes may be another host's,
        after a live migration that failed, and so another port's here.
        Raises: Failed and CannotTell, where a step cannot be undone; CannotTell (journal).
        """
        apply.unplug(vif.id, self._journal, self._world)

    def _devices(self, vif: Vif) -> Devices | None:
        if vif.profile is None or vif.profile.offload is None:
            return None
        address = vif.profile.offload.representor_address
        assert address is not None  # _checked() has seen to it
        if vif.kind is VifKind.VHOSTUSER and self._world.forwarder is None:
            raise CannotTell(
                "no forwarder is configured",
                where=f"VIF {vif.id}",
                hint=f"set forwarder_database and forwarder_netns in [{_GROUP}]",
            )
        return devices(facts.vf(PciAddress.parse(address)), Representors())

    @cached_property
    def _journal(self) -> Journal:
        try:
            return Journal(Path(self.config.state_path))
        except CannotTell as error:
            raise CannotTell(
                error.what,
                where=error.where,
                hint=f"state_path in [{_GROUP}] must be a directory that this service can write",
            ) from error

    @cached_property
    def _world(self) -> World:
        from smartvif.openstack.privileged import PrivilegedLinks

        config = self.config
        forwarder = None
        if config.forwarder_database and config.forwarder_netns:
            switch = self._open_vswitch(config.forwarder_database)
            forwarder = Forwarder(switch, netns=config.forwarder_netns)
        return World(
            links=PrivilegedLinks(),
            ovs=self._open_vswitch(config.ovsdb_connection),
            forwarder=forwarder,
        )

    def _open_vswitch(self, address: str) -> OpenVSwitch:
        return OpenVSwitch(Ovsdb(address), timeout=self.config.ovs_timeout)


def _checked(vif: Vif) -> Vif:
    """The VIF with its VF in one place, where it has one: in the profile's offload.

    A VIFHostDevice has the VF's address itself, and its profile may be silent.
    Raises: Invalid, for a VIF that names two VFs, or none, or whose tap nobody could make.
    """
    where = f"VIF {vif.id}"
    profile = vif.profile or PortProfile(kind=ProfileKind.BASE)
    if vif.kind is VifKind.OPENVSWITCH and not profile.create_tap:
        # libvirt makes that tap when the guest starts, and takes one that is there already only
        # with managed='no' (libvirt.org/formatdomain.html), which Nova then does not write.
        raise Invalid(
            "the port profile leaves the tap to the hypervisor",
            where=where,
            hint="have the controller set ovs_create_tap in the port's vif_details",
        )
    for field in _NEEDED.get(vif.kind, ()):
        if getattr(vif, field) is None:
            raise Invalid(f"a {vif.kind} needs a {field}, and this one has none", where=where)
    if profile.offload is None and vif.kind is not VifKind.HOST_DEVICE:
        return vif
    offload = profile.offload or Offload()
    address = offload.representor_address or vif.dev_address
    if address is None:
        raise Invalid("the VIF names no VF", where=where, hint="its representor_address must")
    if vif.dev_address not in (None, address):
        raise Invalid(
            f"the VIF is for VF {vif.dev_address}, its offload for VF {address}", where=where
        )
    return replace(
        vif, profile=replace(profile, offload=replace(offload, representor_address=address))
    )
