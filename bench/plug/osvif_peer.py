"""os-vif's own ``ovs`` plugin, as it is released, but for one constant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.plug import cases
from bench.plug.cases import Case
from smartvif.sim.host import OPENVSWITCH

_CONFIG = Path("/run/bench-os-vif.conf")


class OsVif:
    """os_vif.plug and unplug, with its native OVSDB client and its privileged daemon."""

    def __init__(self) -> None:
        import os_vif
        from oslo_config import cfg
        from vif_plug_ovs import constants

        # The plugin takes the way of kernel representors on a bridge of type "system" only. The
        # simulated host's bridge is "netdev", because the kernel here may have no openvswitch
        # module; the word is all that differs.
        constants.OVS_DATAPATH_SYSTEM = constants.OVS_DATAPATH_NETDEV
        _CONFIG.write_text(
            f"[os_vif_ovs]\novsdb_connection = unix:{OPENVSWITCH}/db.sock\n"
            "[vif_plug_ovs_privileged]\n"
            f"helper_command = {Path(sys.executable).parent}/privsep-helper\n"
        )
        cfg.CONF(["--config-file", str(_CONFIG)])
        os_vif.initialize()
        self._os_vif = os_vif
        self._instance = cases.instance()
        self._vifs: dict[Case, Any] = {}

    def plug(self, case: Case) -> None:
        """Plug one port."""
        self._os_vif.plug(self._vif(case), self._instance)

    def unplug(self, case: Case) -> None:
        """Take it away again."""
        self._os_vif.unplug(self._vif(case), self._instance)

    def look_up(self, address: str) -> str:
        """The representor of a VF, by the three calls that a plug makes."""
        from vif_plug_ovs import linux_net

        number = linux_net.get_vf_num_by_pci_address(address)
        uplink = linux_net.get_ifname_by_pci_address(address, pf_interface=True, switchdev=True)
        return str(linux_net.get_representor_port(uplink, number))

    def _vif(self, case: Case) -> Any:
        if case not in self._vifs:
            self._vifs[case] = cases.vif(case)
        return self._vifs[case]
