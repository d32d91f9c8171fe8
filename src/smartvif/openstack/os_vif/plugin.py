"""What the os-vif plugins have in common: from an os-vif object to a VIF, and to one of our plans.

os-vif loads a plugin by the entry point of its name. One whose constructor raises leaves every
plugin of the process unusable (os_vif/__init__.py, initialize), so nothing is opened or read before
the first port is plugged.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from os_vif import objects
from os_vif.plugin import PluginBase

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import EngineOptions, ForwarderEngine, NamespaceLinks
from smartvif.drivers.forwarder.registry import open_engine
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model import checks
from smartvif.model.errors import CannotTell, Invalid
from smartvif.model.vif import Machine, Offload, PortProfile, ProfileKind, Vif, VifKind
from smartvif.openstack.os_vif.convert import from_osvif
from smartvif.plug import executor, port_vf
from smartvif.plug.journal import Journal
from smartvif.plug.plans.inputs import PortDevices
from smartvif.switches import registry
from smartvif.switches.prepare import prepare_port

Versions = tuple[str, str]
"""The least and the greatest."""

Supported = dict[VifKind, tuple[Versions, dict[ProfileKind, Versions]]]
"""The versions of each class, and of the port profiles it may have."""

_NEEDED = {
    VifKind.BRIDGE: ("bridge_name",),
    VifKind.GENERIC: ("vif_name",),
    VifKind.VHOSTUSER: ("vif_name", "path"),
}


class Plugin(PluginBase):  # type: ignore[misc]  # os-vif is not followed by mypy
    """Plugs and unplugs the ports of one host. Thread-safe."""

    NAME: ClassVar[str]
    GROUP: ClassVar[str]
    SWITCH: ClassVar[str]
    SUPPORTED: ClassVar[Supported]

    def describe(self) -> objects.host_info.HostPluginInfo:
        """What it plugs, as an ``os_vif.objects.host_info.HostPluginInfo``."""
        info = objects.host_info
        return info.HostPluginInfo(
            plugin_name=self.NAME,
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
                for kind, ((least, greatest), profiles) in self.SUPPORTED.items()
            ],
        )

    def plug(self, vif: Any, instance_info: Any) -> None:
        """Plug an ``os_vif.objects.vif.VIFBase`` for an ``InstanceInfo``, or change nothing.

        A VIF that libvirt plugs itself is left to it.
        Raises: Invalid, NotFound, Ambiguous, Refused (the VF or the port is another's), StepFailed,
        CannotTell. os-vif makes a PlugException of each, with its text.
        """
        value = _normalised(from_osvif(vif))
        found = self._devices(value)
        machine = Machine(
            uuid=instance_info.uuid, name=instance_info.name, project=instance_info.project_id
        )
        simulated = self._world.switch(self.SWITCH).simulated()
        planned = prepare_port(
            value, machine, found, switch_simulated=simulated, agent_sets_vlan=True
        )
        if not planned.plan:
            self._leave_to_libvirt(value)
            return
        executor.plug(planned, self._journal, self._world)

    def unplug(self, vif: Any, instance_info: Any) -> None:
        """Undo what was done for the VIF of that id, in whole or in part. Idempotent.

        The id alone tells what that was: by the journal, or where that is lost, by the switch. The
        PCI address that Nova passes may be another host's, after a live migration that failed, and
        so another port's here.
        Raises: Failed and CannotTell, where a step cannot be undone; CannotTell (journal).
        """
        executor.unplug(vif.id, self._journal, self._world)

    def _leave_to_libvirt(self, vif: Vif) -> None:
        """Check that libvirt, which plugs this VIF itself, finds the bridge and no port of ours."""
        bridge = vif.bridge_name or vif.network.bridge
        assert bridge is not None  # checked by plan()
        self._world.need(OpenVSwitch).bridge(bridge)
        executor.unplug(vif.id, self._journal, self._world)

    def _devices(self, vif: Vif) -> PortDevices | None:
        if vif.profile is None or vif.profile.offload is None:
            return None
        address = vif.profile.offload.representor_address
        assert address is not None  # checked by _normalised()
        if vif.kind is VifKind.VHOSTUSER and self._world.forwarder is None:
            raise CannotTell(
                "no forwarder is configured",
                where=f"VIF {vif.id}",
                hint=f"set forwarder_database and forwarder_netns in [{self.GROUP}]",
            )
        return port_vf.read_devices(
            address,
            vif.id,
            lambda: self._journal,
            self._world.representors,
            with_uplink=vif.kind is VifKind.VHOSTUSER,
        )

    @cached_property
    def _journal(self) -> Journal:
        try:
            return Journal(Path(self.options.state_path))
        except CannotTell as error:
            raise CannotTell(
                error.what,
                where=error.where,
                hint=f"state_path in [{self.GROUP}] must be a directory this service can write",
            ) from error

    @cached_property
    def _world(self) -> Drivers:
        return self._open()

    def _open(self) -> Drivers:
        """The drivers that the plugin's options describe."""
        from smartvif.openstack.privileged import PrivilegedVfio, PrivsepLinks

        access = registry.switch(self.SWITCH).access
        assert access is not None  # or its VIFs would have no plugin
        switches = {self.SWITCH: access.open(self._settings(), **self._parts())}
        return Drivers(
            links=PrivsepLinks(),
            vfio=PrivilegedVfio(),
            switches=switches,
            forwarder=self._forwarder(),
        )

    @abstractmethod
    def _settings(self) -> Any:
        """The switch's own settings, as the plugin's options say."""

    def _parts(self) -> dict[str, Any]:
        """What the switch's driver is to do by a privileged daemon."""
        return {}

    def _forwarder(self) -> ForwarderEngine | None:
        """The virtio forwarder, if there is one."""
        options = self.options
        wanted = EngineOptions(
            engine=options.forwarder_engine,
            database=options.forwarder_database,
            netns=options.forwarder_netns,
            daemon=options.forwarder_daemon,
            timeout=options.forwarder_timeout,
        )
        return open_engine(wanted, self._namespace_links)

    def _namespace_links(self) -> NamespaceLinks:
        """The links of the forwarder's network namespace, by the daemon that may enter it."""
        from smartvif.openstack.privileged_netns import PrivsepNamespaceLinks

        return PrivsepNamespaceLinks(self.GROUP)

    @property
    def options(self) -> Any:
        """The plugin's options, as oslo.config has them now."""
        return self.config


def _normalised(vif: Vif) -> Vif:
    """The VIF with its VF in one place, where it has one: in the profile's offload.

    A VIFHostDevice has the VF's address itself, and its profile may be silent.
    Raises: Invalid, for a VIF that names two VFs, or none, or lacks what its kind needs, or has a
    path that no socket can have.
    """
    where = f"VIF {vif.id}"
    profile = vif.profile or PortProfile(kind=ProfileKind.BASE)
    for field in _NEEDED.get(vif.kind, ()):
        if getattr(vif, field) is None:
            raise Invalid(f"a {vif.kind} needs a {field}, and this one has none", where=where)
    if vif.kind is VifKind.VHOSTUSER:
        with checks.about(where):
            checks.socket_path(vif.path or "")
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
