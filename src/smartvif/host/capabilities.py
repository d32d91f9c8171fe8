"""The capabilities of a PF's VFs, read from the host and never looked up by vendor.

The names are those of os-traits, and CUSTOM_ ones where it has none. The sources are sysfs,
ethtool's features (net/ethtool/common.c, netdev_features_strings), rtnetlink and devlink. Traits
that cannot be read without changing something, such as HW_NIC_SRIOV_QOS_RX, are not determined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smartvif.host import bond, devlink, ethtool, sysfs, vf_info
from smartvif.host.netdev import queues
from smartvif.host.sriov import SYSFS, EswitchMode, Pf
from smartvif.model import traits

_TC_FEATURE = "hw-tc-offload"
# For TCP and UDP alike, over either IP or one (Documentation/networking/checksum-offloads.rst).
_CHECKSUMS = ("tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6")
_UDP_TUNNEL = ("tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation")
# The features of which one active proves the trait. LSO, FDF, L2CRC and UFO are missing: no feature
# of today's kernels stands for exactly one of them.
OFFLOADS: Mapping[str, tuple[str, ...]] = {
    "HW_NIC_OFFLOAD_RX": ("rx-checksum",),
    "HW_NIC_OFFLOAD_TX": _CHECKSUMS,
    "HW_NIC_OFFLOAD_TCS": _CHECKSUMS,
    "HW_NIC_OFFLOAD_UCS": _CHECKSUMS,
    "HW_NIC_OFFLOAD_SCS": ("tx-checksum-sctp",),
    "HW_NIC_OFFLOAD_SG": ("tx-scatter-gather",),
    "HW_NIC_OFFLOAD_TSO": ("tx-tcp-segmentation", "tx-tcp6-segmentation"),
    "HW_NIC_OFFLOAD_GSO": ("tx-generic-segmentation",),
    "HW_NIC_OFFLOAD_GRO": ("rx-gro",),
    "HW_NIC_OFFLOAD_LRO": ("rx-lro",),
    "HW_NIC_OFFLOAD_RXHASH": ("rx-hashing",),
    "HW_NIC_OFFLOAD_TXVLAN": ("tx-vlan-hw-insert",),
    "HW_NIC_OFFLOAD_RXVLAN": ("rx-vlan-hw-parse",),
    "HW_NIC_OFFLOAD_QINQ": ("tx-vlan-stag-hw-insert", "rx-vlan-stag-hw-parse"),
    "HW_NIC_OFFLOAD_GRE": ("tx-gre-segmentation", "tx-gre-csum-segmentation"),
    "HW_NIC_OFFLOAD_TXUDP": _UDP_TUNNEL,
    "HW_NIC_ACCEL_IPSEC": ("esp-hw-offload",),
    "HW_NIC_ACCEL_TLS": ("tls-hw-tx-offload", "tls-hw-rx-offload"),
}
# One feature is for all tunnels in UDP: with it a single one is unknown, without it all are absent.
TUNNELS = ("HW_NIC_OFFLOAD_VXLAN", "HW_NIC_OFFLOAD_GENEVE")

_SWITCHDEV: Mapping[EswitchMode, bool | None] = {
    EswitchMode.SWITCHDEV: True,
    EswitchMode.LEGACY: False,
    EswitchMode.UNKNOWN: None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The ``traits`` that are present, and those ``unknown`` as their source did not answer."""

    traits: frozenset[str]
    unknown: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetlinkReplies:
    """What the kernel reports of a PF by netlink.

    ``features`` has the active ones of each interface that answered; ``limits_rates`` is False
    where devlink does not say that the PF's driver does.
    """

    features: Mapping[str, frozenset[str]] = field(default_factory=dict)
    settings: vf_info.VfReporting | None = None
    limits_rates: bool = False


Ask = Callable[[Pf, Sequence[str]], NetlinkReplies]


def capabilities(
    pf: Pf, root: Path = SYSFS, *, pfs: Sequence[Pf] = (), ask: Ask | None = None
) -> Capabilities:
    """The present capabilities of the VFs of ``pf``.

    An offload counts only while it is active, not if it is supported but switched off. One VF with
    an interface here is read for all of the PF's, or the PF where none has one. ``pfs`` are all of
    the host's; without them the bond is unknown. ``ask`` queries the running kernel, which knows
    nothing of a test's tree.
    """
    ask = ask or (by_netlink if root == SYSFS else _no_replies)
    vf = next((vf.netdev for vf in pf.vfs if vf.netdev is not None), None)
    netdevs = [netdev for netdev in (vf, pf.netdev) if netdev is not None]
    answers = ask(pf, netdevs) if netdevs else NetlinkReplies()
    answered = [answers.features[netdev] for netdev in netdevs if netdev in answers.features]
    found = {
        traits.SRIOV: pf.total_vfs > 0,
        traits.SWITCHDEV: _SWITCHDEV[pf.eswitch],
        traits.TRUSTED: _trusted(pf, answers),
        traits.RATE: _limits_rates(answers),
        traits.MULTIQUEUE: _has_queues(netdevs[0] if netdevs else None, root),
        traits.VF_MULTIQUEUE: _has_queues(vf, root),
        traits.RDMA: _has_rdma(netdevs[0] if netdevs else None, root),
        traits.TC: _is_active(answers.features.get(pf.netdev or ""), (_TC_FEATURE,)),
        traits.VF_LAG: _shares_bond(pf, pfs, root),
    }
    found |= _offloads(answered[0] if answered else None)
    return Capabilities(
        traits=frozenset(name for name, there in found.items() if there),
        unknown=frozenset(name for name, there in found.items() if there is None),
    )


def by_netlink(pf: Pf, netdevs: Sequence[str]) -> NetlinkReplies:
    """The running kernel's answers: one query for each interface, and one or two for the PF."""
    switchdev = pf.eswitch is EswitchMode.SWITCHDEV
    return NetlinkReplies(
        features=ethtool.features(netdevs),
        settings=vf_info.read_reporting(pf.netdev) if pf.netdev is not None else None,
        # Its answer is by PCI device, and those of a simulated card are not in the kernel.
        limits_rates=switchdev and not pf.simulated and devlink.limits_rates(pf.address),
    )


def _no_replies(_pf: Pf, _netdevs: Sequence[str]) -> NetlinkReplies:
    return NetlinkReplies()


def _offloads(features: frozenset[str] | None) -> dict[str, bool | None]:
    found = {trait: _is_active(features, names) for trait, names in OFFLOADS.items()}
    tunnelled = _is_active(features, _UDP_TUNNEL)
    return found | dict.fromkeys(TUNNELS, None if tunnelled else tunnelled)


def _is_active(features: frozenset[str] | None, names: Sequence[str]) -> bool | None:
    return None if features is None else not features.isdisjoint(names)


def _trusted(pf: Pf, answers: NetlinkReplies) -> bool | None:
    """Whether VFs can be trusted; drivers report it per VF, so without VFs it is unknown."""
    if answers.settings is None or not pf.num_vfs:
        return None
    return answers.settings.trust


def _limits_rates(answers: NetlinkReplies) -> bool | None:
    """Whether rates can be limited; never False, since no driver reports that it cannot."""
    said = answers.settings is not None and answers.settings.rate
    return True if said or answers.limits_rates else None


def _has_queues(netdev: str | None, root: Path) -> bool | None:
    counts = None if netdev is None else queues(netdev, root)
    return None if counts is None else min(counts) > 1


def _has_rdma(netdev: str | None, root: Path) -> bool | None:
    """Whether an RDMA device is below the PCI function (Documentation/infiniband/sysfs.rst)."""
    below = [] if netdev is None else sysfs.names(f"{root}/class/net/{netdev}/device")
    return "infiniband" in below if below else None


def _shares_bond(pf: Pf, pfs: Sequence[Pf], root: Path) -> bool | None:
    if pf.netdev is None:
        return None
    found = bond.of(pf.netdev, root)
    if found is None:
        return False
    return bond.lag_problem(found, pfs) is None if pfs else None
