"""The os-vif plugin ``agilio_ovs``: Nova's ports on Open vSwitch."""

from __future__ import annotations

from typing import ClassVar

from oslo_config import cfg

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.vif import ProfileKind, VifKind
from smartvif.openstack.options import AGILIO_OVS
from smartvif.openstack.os_vif.plugin import Plugin, Supported

_BASE = {ProfileKind.BASE: ("1.0", "1.1")}
_OPENVSWITCH = {ProfileKind.OPENVSWITCH: ("1.0", "1.4")}
_REPRESENTOR = {ProfileKind.OVS_REPRESENTOR: ("1.0", "1.4")}


class AgilioOvsPlugin(Plugin):
    """Ports of VIF type ``agilio_ovs``."""

    NAME = "agilio_ovs"
    GROUP = "os_vif_agilio_ovs"
    CONFIG_OPTS: ClassVar[list[cfg.Opt]] = AGILIO_OVS
    SUPPORTED: ClassVar[Supported] = {
        VifKind.HOST_DEVICE: (("1.0", "1.0"), _BASE | _OPENVSWITCH | _REPRESENTOR),
        # vif_name, which names the switch's port, is there since 1.1.
        VifKind.VHOSTUSER: (("1.1", "1.1"), _BASE | _OPENVSWITCH | _REPRESENTOR),
        VifKind.OPENVSWITCH: (("1.0", "1.0"), _OPENVSWITCH),
        VifKind.BRIDGE: (("1.0", "1.0"), _BASE | _OPENVSWITCH),
    }

    def _open(self) -> Drivers:
        from smartvif.openstack.privileged import PrivilegedLinks, PrivilegedVfio

        options = self.options
        database = Ovsdb(options.ovsdb_connection)
        return Drivers(
            links=PrivilegedLinks(),
            vfio=PrivilegedVfio(),
            ovs=OpenVSwitch(database, timeout=options.ovs_timeout),
            forwarder=self._forwarder(),
        )
