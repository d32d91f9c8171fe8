"""A simulated host with the vRouter, and VIFs by Nova's own converter for it."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
import urllib.request
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
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.sim.host import FORWARDER, FORWARDER_NETNS, SOCKETS, STATE, host_vrouter
from smartvif.sim.nic import nic
from smartvif.sim.testing import on_simulated_host
from smartvif.sim.vrouter import introspect
from smartvif.status import ports

CONFIG = Path("/run/os-vif.conf")
VM = "9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01"
PROJECT = "11111111222243338444555555555555"
INSTANCE = InstanceInfo(uuid=VM, name="instance-00000001", project_id=PROJECT)
NETWORK = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"
ONE = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
OTHER = "1e9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
TAP = names.tap(ONE)
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
        "agent_timeout": "30",
        "ports_directory": str(host_vrouter().ports),
        "state_path": str(STATE),
        "forwarder_database": f"unix:{FORWARDER}/db.sock",
        "forwarder_netns": FORWARDER_NETNS,
    } | changes
    lines = [f"{key} = {value}" for key, value in options.items()]
    helper = Path(sys.executable).parent / "privsep-helper"
    sections = ("smartvif_privileged", "smartvif_privileged_netns")
    CONFIG.write_text(
        "\n".join(["[os_vif_vrouter]", *lines])
        + "".join(
            f"\n[{section}]\nhelper_command = {helper} --config-file {CONFIG}\n"
            for section in sections
        )
    )
    cfg.CONF(["--config-file", str(CONFIG)])


def vif(
    vnic_type: str,
    port: str = ONE,
    vf: int | None = 1,
    vif_type: str = "vrouter",
    ips: tuple[str, ...] = ("10.0.0.5",),
    **details: Any,
) -> Any:
    """The object that Nova's converter makes of a bound port."""
    subnet = model.Subnet(
        cidr="10.0.0.0/24", version=4, ips=[model.FixedIP(address=ip, version=4) for ip in ips]
    )
    return os_vif_util.nova_to_osvif_vif(
        model.VIF(
            id=port,
            address=MAC if port == ONE else "fa:16:3e:12:34:57",
            network=model.Network(id=NETWORK, label="net", mtu=MTU, subnets=[subnet]),
            type=vif_type,
            vnic_type=vnic_type,
            details=details,
            profile={} if vf is None else {"pci_slot": str(nic.vf_address(0, vf))},
            delegate_create=True,
            devname=names.tap(port),
        )
    )


def normal(port: str = ONE) -> Any:
    return vif("normal", port, vf=None)


def forwarder(port: str = ONE, vf: int = 1) -> Any:
    socket = f"{SOCKETS}/{port}.sock"
    return vif("virtio-forwarder", port, vf, vhostuser_socket=socket, vhostuser_mode="server")


def dpdk(path: str, mode: str = "server") -> Any:
    return vif(
        "normal",
        vf=None,
        vif_type="vhostuser",
        vhostuser_vrouter_plug=True,
        vhostuser_socket=path,
        vhostuser_mode=mode,
    )


def plug(obj: Any) -> None:
    os_vif.plug(obj, INSTANCE)


def unplug(obj: Any) -> None:
    os_vif.unplug(obj, INSTANCE)


def told(port: str = ONE) -> dict[str, Any] | None:
    """What the agent says of a port."""
    document = HostContext(load()).drivers.need(VRouterAgent).port(port)
    assert document is None or (host_vrouter().ports / port).is_file()
    return document


def interfaces() -> dict[str, dict[str, Any]]:
    """The vRouter's own interfaces, by their netdevs."""
    with urllib.request.urlopen(f"http://127.0.0.1:{introspect.PORT}/interfaces") as answer:
        found = json.load(answer)
    assert found["simulated"] is True
    return {each["netdev"]: each for each in found["interfaces"]}


def files() -> set[str]:
    return set(os.listdir(host_vrouter().ports))


def links() -> dict[str, Any]:
    """Every link and its state."""
    host = Links()
    return {name: host.get(name) for name in host.names()}


def state() -> Any:
    """All that plugging may leave: links, files, what the vRouter has."""
    return links(), files(), set(interfaces())


def assert_up(netdev: str) -> None:
    link = Links().get(netdev)
    assert link is not None
    assert link.up
    assert link.mtu == MTU


def assert_active(netdev: str) -> None:
    """The vRouter forwards for it, as soon as it has noticed that it is up."""
    end = time.monotonic() + 10
    while not interfaces()[netdev]["active"]:
        assert time.monotonic() < end, interfaces()[netdev]


def assert_healthy() -> None:
    """The command calls every port of the plugin healthy, and says what is simulated."""
    host = HostContext(load())
    views = ports.views(host.journal, host.drivers).ports
    assert [view.working for view in views] == [True], views
    assert views[0].facts.vm == INSTANCE.name
    assert views[0].facts.switch == "vrouter"
    assert "vrouter" in views[0].facts.simulated
