"""The features of network interfaces, as ethtool(8) reads them.

An interface that is not there, and one whose device is asleep, are "no answer", never an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing, suppress


def features(netdevs: Iterable[str]) -> dict[str, frozenset[str]]:
    """The features that are active now, by interface, by the kernel's names.

    Those are in net/ethtool/common.c, netdev_features_strings; ethtool(8) has its own for some.
    Features that are supported but switched off are not among them. An interface that did not
    answer is left out.
    """
    from pyroute2.ethtool.ioctl import EthtoolError, IoctlEthtool

    found: dict[str, frozenset[str]] = {}
    for netdev in netdevs:
        with suppress(EthtoolError, OSError), closing(IoctlEthtool(netdev)) as kernel:
            found[netdev] = frozenset(name for name, active, *_ in kernel.get_features() if active)
    return found
