"""The os-vif plugins ``vrouter`` and ``contrail_vrouter``: Nova's ports on the vRouter."""

from __future__ import annotations

from typing import Any, ClassVar

from oslo_config import cfg

from smartvif.model.vif import ProfileKind, VifKind
from smartvif.openstack.options import VROUTER, VROUTER_GROUP
from smartvif.openstack.os_vif.plugin import Plugin, Supported
from smartvif.switches.vrouter import VROUTER as SWITCH
from smartvif.switches.vrouter import VRouterSettings

_BASE = {ProfileKind.BASE: ("1.0", "1.1")}


class VRouterPlugin(Plugin):
    """Ports of VIF type ``vrouter``."""

    NAME = "vrouter"
    GROUP = VROUTER_GROUP
    SWITCH = SWITCH.name
    CONFIG_OPTS: ClassVar[list[cfg.Opt]] = VROUTER
    SUPPORTED: ClassVar[Supported] = {
        VifKind.GENERIC: (("1.0", "1.0"), _BASE),
        # vif_name, by which the agent knows the port, is there since 1.1.
        VifKind.VHOSTUSER: (("1.1", "1.1"), _BASE),
        VifKind.HOST_DEVICE: (("1.0", "1.0"), _BASE),
    }

    def _settings(self) -> VRouterSettings:
        options = self.options
        return VRouterSettings(
            agent=options.agent, ports=options.ports_directory, timeout=options.agent_timeout
        )

    def _parts(self) -> dict[str, Any]:
        from smartvif.openstack.privileged import PrivilegedPortFiles

        return {"files": PrivilegedPortFiles}


class ContrailVRouterPlugin(VRouterPlugin):
    """The same plugin by the name it had before, which Nova still uses for the DPDK vRouter.

    It has no options of its own: there is one vRouter on a host.
    """

    NAME = "contrail_vrouter"
    CONFIG_OPTS: ClassVar[list[cfg.Opt]] = []

    @property
    def options(self) -> Any:
        """Those of the plugin ``vrouter``."""
        cfg.CONF.register_opts(VROUTER, VROUTER_GROUP)
        return cfg.CONF[VROUTER_GROUP]
