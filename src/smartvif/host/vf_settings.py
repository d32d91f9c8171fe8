"""What a PF's driver says of the settings of its VFs, by rtnetlink(7).

It is asked for all of them at once: the kernel answers no question about a single VF
(net/core/rtnetlink.c, rtnl_fill_vf).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# include/uapi/linux/rtnetlink.h: RTEXT_FILTER_VF, RTEXT_FILTER_SKIP_STATS. With counters an answer
# about 256 VFs is longer than the 65535 bytes that an attribute can have.
_WITH_VFS, _WITHOUT_COUNTERS = 1, 8
_UNSAID = 0xFFFFFFFF  # what a driver that says nothing leaves (rtnl_fill_vfinfo: -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VfSettings:
    """Which settings of VFs a driver says.

    ``trust``: it says whether a VF is trusted, as every driver does that lets it be set.
    ``rate``: it says of some VF that its rate is limited. Where it does not, nobody can tell: the
    kernel puts down a 0 for a driver that knows no rates, and so do drivers for "not limited".
    """

    trust: bool
    rate: bool


def read(netdev: str) -> VfSettings | None:
    """What the driver of a PF's interface says; None where the kernel does not answer."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            links = tuple(route.link("get", ifname=netdev, ext_mask=_WITH_VFS | _WITHOUT_COUNTERS))
    except (NetlinkError, OSError):
        return None
    return to_settings(links[0]) if links else None


def to_settings(link: Any) -> VfSettings:
    """From a link as pyroute2 gives it; a driver without such settings leaves the list out."""
    listed = link.get_attr("IFLA_VFINFO_LIST")
    vfs = listed.get_attrs("IFLA_VF_INFO") if listed else []
    return VfSettings(
        trust=any(_is_said(vf.get_attr("IFLA_VF_TRUST")) for vf in vfs),
        rate=any(_is_limited(vf.get_attr("IFLA_VF_RATE")) for vf in vfs),
    )


def _is_said(trust: Any) -> bool:
    return trust is not None and trust["trust"] != _UNSAID


def _is_limited(rate: Any) -> bool:
    return rate is not None and bool(rate["min_tx_rate"] or rate["max_tx_rate"])
