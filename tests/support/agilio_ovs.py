"""A simulated host whose nova.conf names its parts, and VIFs by Nova's own converter for it."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import os_vif
from nova.network import model, os_vif_util
from os_vif.objects.instance_info import InstanceInfo
from oslo_config import cfg

from smartvif.context.host import HostContext
from smartvif.context.settings import load
from smartvif.control import names
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.sim.host import (
    BRIDGE,
    FORWARDER,
    FORWARDER_NETNS,
    OPENVSWITCH,
    SOCKETS,
    STATE,
    forwarder_switch,
    host_switch,
)
from smartvif.sim.nic import nic
from smartvif.sim.testing import on_simulated_host
from smartvif.status import ports

CONFIG = Path("/run/os-vif.conf")
VM = "9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01"
INSTANCE = InstanceInfo(uuid=VM, name="instance-00000001", project_id="tenant")
NETWORK = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"
ONE = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
OTHER = "1e9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
MAC = "fa:16:3e:12:34:56"
MTU = 1450


def on_host(test: Callable[[], None]) -> Callable[[], None]:
    """Run the test on a simulated host whose nova.conf names its parts."""

    @functools.wraps(test)
    def configured() -> None:
        configure()
        test()

    return on_simulated_host()(configured)


def configure(**changes: str) -> None:
    """Write and read nova.conf; ``changes`` are options of the plugin."""
    options = {
        "ovsdb_connection": f"unix:{OPENVSWITCH}/db.sock",
        "ovs_timeout": "3",
        "state_path": str(STATE),
        "forwarder_database": f"unix:{FORWARDER}/db.sock",
        "forwarder_netns": FORWARDER_NETNS,
    } | changes
    lines = [f"{key} = {value}" for key, value in options.items()]
    helper = Path(sys.executable).parent / "privsep-helper"
    CONFIG.write_text(
        "\n".join(["[os_vif_agilio_ovs]", *lines])
        + f"\n[smartvif_privileged]\nhelper_command = {helper}\n"
        + f"[smartvif_privileged_netns]\nhelper_command = {helper} --config-file {CONFIG}\n"
    )
    cfg.CONF(["--config-file", str(CONFIG)])


def vif(vnic_type: str, port: str = ONE, vf: int | None = 1, **details: Any) -> Any:
    """The object that Nova's converter makes of a port bound as ``agilio_ovs``."""
    made = os_vif_util.nova_to_osvif_vif(
        model.VIF(
            id=port,
            address=MAC if port == ONE else "fa:16:3e:12:34:57",
            network=model.Network(id=NETWORK, bridge=BRIDGE, label="net", mtu=MTU),
            type=model.VIF_TYPE_AGILIO_OVS,
            vnic_type=vnic_type,
            details=details,
            profile={} if vf is None else {"pci_slot": str(nic.vf_address(0, vf))},
            delegate_create=True,
            devname=names.tap(port),
        )
    )
    # Nova gives ports without a VF to the plugin "ovs"; docs/reference/vif-table.md has why not.
    made.plugin = "agilio_ovs"
    return made


def forwarder_vif(port: str = ONE, vf: int = 1) -> Any:
    """A VIF behind the virtio forwarder."""
    socket = f"{SOCKETS}/{port}.sock"
    return vif("virtio-forwarder", port, vf, vhostuser_socket=socket, vhostuser_mode="server")


def plug(obj: Any) -> None:
    os_vif.plug(obj, INSTANCE)


def unplug(obj: Any) -> None:
    os_vif.unplug(obj, INSTANCE)


def start_forwarder() -> OpenVSwitch:
    """The forwarder, which a simulated host has with guests only."""
    subprocess.run(["ip", "netns", "add", FORWARDER_NETNS], check=True)
    forwarder_switch(1).start()
    return OpenVSwitch(Ovsdb(forwarder_switch(1).address))


def switch() -> OpenVSwitch:
    return OpenVSwitch(Ovsdb(host_switch().address))


def rows() -> Any:
    """The ports on the switch, without the bridge's own, and everything that speaks of QoS."""
    tables = [
        {"op": "select", "table": table, "where": [], "columns": ["_uuid"]}
        for table in ("QoS", "Bridge")
    ]
    counts = [len(result["rows"]) for result in switch().db.transact(tables, switch().deadline())]
    return {port.name for port in switch().ports()} - {BRIDGE}, counts


def links() -> dict[str, Any]:
    """Every link and its state. The bridge's own follows the MTU of its ports."""
    host = Links()
    return {name: host.get(name) for name in host.names() if name != BRIDGE}


def assert_in_switch(netdev: str, port: str = ONE) -> None:
    """The switch has the port, for that VIF, and the link is up with the network's MTU."""
    found, link = switch().port(netdev), Links().get(netdev)
    assert found is not None
    assert found.failure is None
    assert found.bridge == BRIDGE
    assert found.owner == port
    wanted = {"iface-id": port, "iface-status": "active", "vm-uuid": VM}
    assert wanted.items() <= found.external_ids.items()
    assert link is not None
    assert link.up
    assert link.mtu == MTU


def assert_healthy() -> None:
    """The command calls every port of the plugin healthy."""
    host = HostContext(load())
    views = ports.views(host.journal, host.drivers)
    assert [view.working for view in views] == [True], views
    assert views[0].facts.vm == INSTANCE.name
