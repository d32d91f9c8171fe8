"""What a network interface's driver does for it, by ethtool's netlink family.

Documentation/networking/ethtool-netlink.rst. A kernel without the family (before Linux 5.6), an
interface that is not there, and one whose device is asleep are all "no answer", never an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

# include/uapi/linux/ethtool_netlink.h: ETHTOOL_MSG_FEATURES_GET
_FEATURES_GET = 11
_FAMILY, _VERSION = "ethtool", 1
# ... ETHTOOL_A_FEATURES_*: the attributes of request and answer. pyroute2 has their parts only.
_ATTRIBUTES = (
    (0, "UNSPEC", "none"),
    (1, "HEADER", "ethtoolheader"),
    (4, "ACTIVE", "ethtoolbitset"),
)


def features(netdevs: Iterable[str]) -> dict[str, frozenset[str]]:
    """The features that are active now, by interface, by the kernel's names.

    Those are in net/ethtool/common.c, netdev_features_strings; ethtool(8) has its own for some.
    What a driver could do and somebody has switched off is not among them. An interface that did
    not answer is left out. One socket, and one question for each interface.
    """
    from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.generic import GenericNetlinkSocket

    found: dict[str, frozenset[str]] = {}
    with suppress(NetlinkError, OSError), GenericNetlinkSocket() as socket:
        socket.asyncore.module_err_level = "debug"  # absence is an answer, not a fault
        socket.bind(_FAMILY, message_class())
        for netdev in netdevs:
            with suppress(NetlinkError):
                question, flags = _question(netdev), NLM_F_REQUEST | NLM_F_ACK
                for answer in socket.nlm_request(question, socket.prid, flags):
                    found[netdev] = active(answer)
    return found


def active(answer: Mapping[str, Any]) -> frozenset[str]:
    """The names in a decoded answer's list of active features.

    A list without a mask has only the bits that are set (ethtool-netlink.rst, "Bit sets").
    """
    attributes = dict(answer["attrs"])
    bits = attributes["ACTIVE"].get_attr("ETHTOOL_A_BITSET_BITS")
    each = bits.get_attrs("ETHTOOL_A_BITSET_BITS_BIT") if bits else ()
    return frozenset(bit.get_attr("ETHTOOL_A_BITSET_BIT_NAME") for bit in each)


def _question(netdev: str) -> Any:
    message = message_class()()
    message["cmd"], message["version"] = _FEATURES_GET, _VERSION
    header = {"attrs": [["ETHTOOL_A_HEADER_DEV_NAME", netdev]]}
    message["attrs"] = [["HEADER", header]]
    return message


@cache
def message_class() -> Any:
    """pyroute2's form of the message; made at first use, for pyroute2 is slow to import."""
    from pyroute2.netlink import genlmsg
    from pyroute2.netlink.generic.ethtool import ethtoolbitset, ethtoolheader

    members = {
        "prefix": "",
        "nla_map": _ATTRIBUTES,
        "ethtoolheader": ethtoolheader,
        "ethtoolbitset": ethtoolbitset,
        "__slots__": (),
    }
    return type("EthtoolFeaturesMessage", (genlmsg,), members)
