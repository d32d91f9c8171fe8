"""How the plugins vrouter and contrail_vrouter describe themselves, and their options."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import os_vif
import pytest
from os_vif.objects import vif as osv
from os_vif.objects.network import Network

from smartvif.model.errors import CannotTell, NotFound
from smartvif.openstack.options import VROUTER
from smartvif.openstack.os_vif.vrouter import ContrailVRouterPlugin, VRouterPlugin
from tests.support.checkout import CHECKOUT
from tests.support.vrouter_plugin import INSTANCE, MAC, NETWORK, ONE, TAP

DOC = CHECKOUT / "docs" / "reference" / "os-vif.md"


@pytest.mark.parametrize("name", ["vrouter", "contrail_vrouter"])
def test_description(name: str) -> None:
    """os-vif agrees on a version of every class and profile, in what it loaded by that name."""
    info = os_vif.host_info().get_plugin(name)
    kinds = {each.vif_object_name for each in info.vif_info}
    assert kinds == {"VIFGeneric", "VIFHostDevice", "VIFVHostUser"}
    for each in info.vif_info:
        version = getattr(osv, each.vif_object_name).VERSION
        assert each.get_common_version() == each.max_version == version
        for profile in each.supported_port_profiles:
            version = getattr(osv, profile.profile_object_name).VERSION
            assert profile.get_common_version() == profile.max_version == version


FIELDS: dict[str, dict[str, Any]] = {
    "VIFGeneric": {"vif_name": TAP},
    "VIFHostDevice": {"dev_type": "ethernet", "dev_address": "0000:ff:00.1"},
    "VIFVHostUser": {"vif_name": TAP, "path": "/run/s", "mode": "server"},
}


@pytest.mark.parametrize(
    ("kind", "profile", "offloaded"),
    [
        (str(kind), profile, offloaded)
        for kind, (_, profiles) in VRouterPlugin.SUPPORTED.items()
        for profile in (None, *map(str, profiles))
        for offloaded in (False, True)
        if not offloaded or (kind != "VIFGeneric" and profile is not None)
    ],
)
def test_the_description_is_true(kind: str, profile: str | None, offloaded: bool) -> None:
    """Each class is taken with each profile described for it, up to where the host is needed."""
    more: dict[str, Any] = {}
    if profile is not None:
        more["port_profile"] = getattr(osv, profile)()
    if offloaded:
        address = "0000:ff:00.1"
        offload = osv.DatapathOffloadRepresentor(representor_address=address)
        more["port_profile"].datapath_offload = offload
    obj = getattr(osv, kind)(
        id=ONE, address=MAC, plugin="vrouter", network=Network(id=NETWORK), **FIELDS[kind], **more
    )
    wanted = "cannot use the journal"
    if kind == "VIFHostDevice":
        wanted = "no such PCI device"
    elif offloaded:
        wanted = "no forwarder is configured"
    with pytest.raises((NotFound, CannotTell), match=wanted):
        VRouterPlugin(Nowhere()).plug(obj, INSTANCE)


class Nowhere:
    """A configuration under which nothing can be reached."""

    agent = "http://127.0.0.1:1"
    agent_timeout = 1.0
    ports_directory = state_path = "/proc/nowhere"
    forwarder_engine = forwarder_database = forwarder_netns = forwarder_daemon = ""
    forwarder_timeout = 1.0


@pytest.mark.parametrize("plugin", [VRouterPlugin, ContrailVRouterPlugin])
def test_the_constructor_looks_at_nothing(plugin: Any) -> None:
    """No configuration keeps a plugin from being made, nor os-vif from describing it."""
    assert plugin(None).describe().plugin_name == plugin.NAME


def test_the_pages_options_are_these() -> None:
    """The page lists each option with its default and its help, and no other."""
    section = DOC.read_text().split("### `[os_vif_vrouter]`\n")[1].split("\n### ")[0]
    listed = re.findall(r"^\| `(\w+)` \| `([^`]*)` \| (.*) \|$", section, re.MULTILINE)
    assert listed == [(opt.name, str(opt.default) or "''", opt.help) for opt in VROUTER]


def test_the_sample_configuration() -> None:
    """oslo-config-generator writes every option of ours."""
    generator = Path(sys.executable).parent / "oslo-config-generator"
    run = subprocess.run(
        [generator, "--namespace", "smartvif"], capture_output=True, text=True, check=True
    )
    assert "[os_vif_agilio_ovs]" in run.stdout
    assert "[os_vif_vrouter]" in run.stdout
    assert "#ports_directory = /var/lib/contrail/ports" in run.stdout
