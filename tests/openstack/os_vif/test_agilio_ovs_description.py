"""How the plugin agilio_ovs describes itself, its options, and how it is loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import os_vif
import pytest
from os_vif.objects import vif as osv
from os_vif.objects.network import Network

from smartvif.model.errors import CannotTell, Invalid, NotFound
from smartvif.openstack.options import AGILIO_OVS
from smartvif.openstack.os_vif.agilio_ovs import AgilioOvsPlugin
from smartvif.sim.host import BRIDGE
from tests.support.agilio_ovs import INSTANCE, MAC, NETWORK, ONE
from tests.support.checkout import CHECKOUT

DOC = CHECKOUT / "docs" / "reference" / "os-vif.md"


def test_description() -> None:
    """os-vif agrees on a version of every class and profile, in what it loaded by that name."""
    info = os_vif.host_info().get_plugin("agilio_ovs")
    assert {each.vif_object_name for each in info.vif_info} == {
        "VIFHostDevice",
        "VIFVHostUser",
        "VIFOpenVSwitch",
        "VIFBridge",
    }
    for each in info.vif_info:
        version = getattr(osv, each.vif_object_name).VERSION
        assert each.get_common_version() == each.max_version == version
        assert each.supported_port_profiles
        for profile in each.supported_port_profiles:
            version = getattr(osv, profile.profile_object_name).VERSION
            assert profile.get_common_version() == profile.max_version == version


FIELDS: dict[str, dict[str, Any]] = {
    "VIFHostDevice": {"dev_type": "ethernet", "dev_address": "0000:ff:00.1"},
    "VIFVHostUser": {"vif_name": "vhu0", "path": "/run/s", "mode": "server"},
    "VIFOpenVSwitch": {"vif_name": "tap0", "bridge_name": BRIDGE},
    "VIFBridge": {"vif_name": "tap0", "bridge_name": "qbr0"},
}


@pytest.mark.parametrize(
    ("kind", "profile", "offloaded"),
    [
        (str(kind), str(profile), offloaded)
        for kind, (_, profiles) in AgilioOvsPlugin.SUPPORTED.items()
        for profile in profiles
        for offloaded in (False, True)
        if not offloaded or kind in {"VIFHostDevice", "VIFVHostUser"}
    ],
)
def test_the_description_is_true(kind: str, profile: str, offloaded: bool) -> None:
    """Each class is taken with each profile described for it, up to where the host is needed."""
    made = getattr(osv, profile)()
    if kind == "VIFOpenVSwitch":
        made.create_tap = True
    if offloaded:
        address = "0000:ff:00.1"
        made.datapath_offload = osv.DatapathOffloadRepresentor(representor_address=address)
    obj = getattr(osv, kind)(
        id=ONE,
        address=MAC,
        plugin="agilio_ovs",
        network=Network(id=NETWORK, bridge=BRIDGE),
        port_profile=made,
        **FIELDS[kind],
    )
    wanted = "cannot use the journal"
    if kind == "VIFHostDevice":
        wanted = "no such PCI device"
    elif offloaded:
        wanted = "no forwarder is configured"
    with pytest.raises((NotFound, CannotTell), match=wanted):
        AgilioOvsPlugin(Nowhere()).plug(obj, INSTANCE)


@pytest.mark.parametrize("path", ["", "vhu/guest.sock", "/run/" + "d" * 103, "/run/a\0b"])
def test_a_socket_that_cannot_be(path: str) -> None:
    """A path that no socket can have is refused before the host is looked at."""
    obj = osv.VIFVHostUser(
        id=ONE,
        address=MAC,
        plugin="agilio_ovs",
        network=Network(id=NETWORK, bridge=BRIDGE),
        port_profile=osv.VIFPortProfileBase(),
        **FIELDS["VIFVHostUser"] | {"path": path},
    )
    with pytest.raises(Invalid, match="socket"):
        AgilioOvsPlugin(Nowhere()).plug(obj, INSTANCE)


class Nowhere:
    """A configuration under which nothing can be reached."""

    ovsdb_connection = "unix:/nowhere"
    ovs_timeout = 1.0
    state_path = "/proc/nowhere"
    forwarder_engine = forwarder_database = forwarder_netns = forwarder_daemon = ""
    forwarder_timeout = 1.0


def test_the_constructor_looks_at_nothing() -> None:
    """No configuration keeps the plugin from being made, nor os-vif from describing it."""
    plugin = AgilioOvsPlugin(None)
    assert plugin.describe().plugin_name == "agilio_ovs"


def test_loading_is_cheap() -> None:
    """Loading the plugin opens no privsep and imports nothing that only a plug needs."""
    script = (
        "import sys, os_vif, smartvif.openstack.os_vif.plugin\n"
        "sys.exit('smartvif.openstack.privileged' in sys.modules or 'pyroute2' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False)
    assert run.returncode == 0


def test_the_pages_options_are_these() -> None:
    """The page lists each option with its default and its help, and no other."""
    section = DOC.read_text().split("### `[os_vif_agilio_ovs]`\n")[1].split("\n### ")[0]
    listed = re.findall(r"^\| `(\w+)` \| `([^`]*)` \| (.*) \|$", section, re.MULTILINE)
    options = [(opt.name, str(opt.default) or "''", opt.help) for opt in AGILIO_OVS]
    assert listed == options
