"""The os-vif plugin ``agilio_ovs``: Nova's ports on Open vSwitch."""

from __future__ import annotations

from typing import ClassVar

from oslo_config import cfg

from smartvif.model.vif import ProfileKind, VifKind
from smartvif.openstack.options import AGILIO_OVS
from smartvif.openstack.os_vif.plugin import Plugin, Supported
from smartvif.switches.ovs import OVS, OpenVSwitchSettings

_BASE = {ProfileKind.BASE: ("1.0", "1.1")}
_OPENVSWITCH = {ProfileKind.OPENVSWITCH: ("1.0", "1.4")}
_REPRESENTOR = {ProfileKind.OVS_REPRESENTOR: ("1.0", "1.4")}


class AgilioOvsPlugin(Plugin):
    """Ports of VIF type ``agilio_ovs``."""

    NAME = "agilio_ovs"
    GROUP = "os_vif_agilio_ovs"
    SWITCH = OVS.name
    CONFIG_OPTS: ClassVar[list[cfg.Opt]] = AGILIO_OVS
    SUPPORTED: ClassVar[Supported] = {
        VifKind.HOST_DEVICE: (("1.0", "1.0"), _BASE | _OPENVSWITCH | _REPRESENTOR),
        # vif_name, which names the switch's port, is there since 1.1.
        VifKind.VHOSTUSER: (("1.1", "1.1"), _BASE | _OPENVSWITCH | _REPRESENTOR),
        VifKind.OPENVSWITCH: (("1.0", "1.0"), _OPENVSWITCH),
        VifKind.BRIDGE: (("1.0", "1.0"), _BASE | _OPENVSWITCH),
    }

    def _settings(self) -> OpenVSwitchSettings:
        options = self.options
        return OpenVSwitchSettings(database=options.ovsdb_connection, timeout=options.ovs_timeout)
