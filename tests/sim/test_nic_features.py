"""What the kernel says of real interfaces, those of a simulated SmartNIC, beside ``ethtool -k``."""

from __future__ import annotations

import subprocess

from smartvif.host import capabilities, ethtool, sriov, vf_settings
from smartvif.host.capabilities import OFFLOADS
from smartvif.host.netdev import speed
from smartvif.host.sriov import EswitchMode
from smartvif.host.vf_settings import VfSettings
from smartvif.model.traits import MULTIQUEUE, RATE, SRIOV, SWITCHDEV, TRUSTED
from smartvif.sim.nic import nic
from smartvif.sim.testing import on_simulated_host

# ethtool(8) has names of its own for some features of the kernel (its feature_aliases), and heads
# groups of others with names that are no feature's.
ALIASES = {
    "rx-checksumming": "rx-checksum",
    "generic-segmentation-offload": "tx-generic-segmentation",
    "generic-receive-offload": "rx-gro",
    "large-receive-offload": "rx-lro",
    "rx-vlan-offload": "rx-vlan-hw-parse",
    "tx-vlan-offload": "tx-vlan-hw-insert",
    "ntuple-filters": "rx-ntuple-filter",
    "receive-hashing": "rx-hashing",
}
GROUPS = {"tx-checksumming", "scatter-gather", "tcp-segmentation-offload"}


def run(*words: str) -> str:
    """What a program says."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def by_ethtool(netdev: str) -> set[str]:
    """The active features, as ethtool has them."""
    lines = (line.strip().partition(": ") for line in run("ethtool", "-k", netdev).splitlines())
    on = {name for name, _, state in lines if state.split()[:1] == ["on"]}
    return {ALIASES.get(name, name) for name in on - GROUPS}


def expected(active: set[str]) -> set[str]:
    """The traits of an interface with these features."""
    return {trait for trait, names in OFFLOADS.items() if active & set(names)}


@on_simulated_host("1x2")
def test_the_same_as_ethtool() -> None:
    """We see the features that ethtool sees, before some are switched off and after."""
    assert ethtool.features(["p0v0", "gone", "lo"]) == {
        name: by_ethtool(name) for name in ("p0v0", "lo")
    }
    (pf,) = sriov.pfs()
    before = capabilities.capabilities(pf)
    assert before.traits & set(OFFLOADS) == expected(by_ethtool("p0v0"))
    assert {"HW_NIC_OFFLOAD_TSO", "HW_NIC_OFFLOAD_TX", "HW_NIC_OFFLOAD_TXVLAN"} <= before.traits
    run("ethtool", "-K", "p0v0", "tso", "off", "txvlan", "off")
    after = capabilities.capabilities(pf)
    assert ethtool.features(["p0v0"]) == {"p0v0": by_ethtool("p0v0")}
    assert before.traits - after.traits == {"HW_NIC_OFFLOAD_TSO", "HW_NIC_OFFLOAD_TXVLAN"}
    assert after.unknown == before.unknown


@on_simulated_host("1x2")
def test_a_vf_that_somebody_has() -> None:
    """Where the VF that is asked has left this network namespace, its PF speaks for it."""
    (pf,) = sriov.pfs()
    run("ip", "link", "set", "p0v0", "netns", nic.NETNS, "name", "elsewhere")
    run("ethtool", "-K", "p0", "txvlan", "off")
    found = capabilities.capabilities(pf)
    assert found.traits & set(OFFLOADS) == expected(by_ethtool("p0"))
    assert "HW_NIC_OFFLOAD_TXVLAN" not in found.traits | found.unknown


@on_simulated_host("2x2,legacy=1")
def test_a_simulated_card() -> None:
    """VFs of a PF in switchdev mode are told from those of one in legacy mode; nothing is made up.

    The kernel knows of no VFs below a veth, so it says no trust; of rates it never says a no.
    """
    pfs = sriov.pfs()
    assert vf_settings.read("p0") == VfSettings(trust=False, rate=False)
    modern, legacy = (capabilities.capabilities(pf, pfs=pfs) for pf in pfs)
    assert modern.traits - legacy.traits == {SWITCHDEV}
    assert legacy.traits <= modern.traits
    assert SRIOV in legacy.traits
    assert modern.unknown == legacy.unknown
    assert RATE in modern.unknown
    assert not {TRUSTED, MULTIQUEUE} & (modern.traits | modern.unknown)
    assert speed("p0") == 10_000_000


@on_simulated_host("2x2,legacy=1")
def test_legacy_mode() -> None:
    """A simulated PF in legacy mode switches between its VFs, and between them and the wire."""
    assert sriov.pfs()[1].eswitch is EswitchMode.LEGACY
    for number, netdev in enumerate(("p1v0", "p1v1", nic.wire(1), "p1"), 1):
        run("ip", "netns", "add", netdev)
        run("ip", "link", "set", netdev, "netns", netdev)
        run("ip", "-n", netdev, "address", "add", f"192.0.2.{number}/24", "dev", netdev)
        run("ip", "-n", netdev, "link", "set", netdev, "up")
    for number in (2, 3, 4):
        ping = ("ping", "-c", "1", "-W", "10", f"192.0.2.{number}")
        run("ip", "netns", "exec", "p1v0", *ping)
