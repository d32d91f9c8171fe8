"""Keeping the vifs' frames from the host itself: no machine is to reach the host's own addresses.

The kernel gives each frame to packet sockets first, then to the bridge that the netdev is in, and
only then to the host's protocols (net/core/dev.c). A bridge that is down takes all of them and
passes none on, so a netdev in it belongs to the packet socket alone.
"""

from __future__ import annotations

import contextlib
import errno
from typing import Any

from smartvif.drivers.kernel.links import Links
from smartvif.model.errors import Failed, NotFound, Refused

BRIDGE = "vrouter0"
_MAC, _MTU = "02:53:56:ff:00:00", 1500


class HostFilter:
    """Make the bridge again, which frees netdevs that an earlier vRouter held.

    Raises: Failed.
    """

    def __init__(self) -> None:
        from pyroute2 import IPRoute

        links = Links()
        links.delete(BRIDGE)
        links.add_bridge(BRIDGE)
        # Said once, both stay as they are whatever it holds (net/bridge/br_if.c).
        links.set_mac(BRIDGE, _MAC)
        links.set_mtu(BRIDGE, _MTU)
        links.close()
        self._route = IPRoute()
        self._bridge = self._one(BRIDGE)["index"]

    def take(self, netdev: str) -> None:
        """Take a netdev away from the host.

        Raises: Refused, where another bridge has it; NotFound, Failed.
        """
        link = self._one(netdev)
        if link.get("master") not in {None, self._bridge}:
            raise Refused("its netdev is in another bridge", where="simulated vRouter")
        self._set_master(link["index"], self._bridge)

    def release(self, netdev: str) -> None:
        """Give a netdev back; one that is not there, or not held, is free.

        Raises: Failed.
        """
        for link in self._get(netdev):
            if link.get("master") == self._bridge:
                # It may go at any moment, as a tap does with its machine.
                with contextlib.suppress(NotFound):
                    self._set_master(link["index"], 0)

    def _set_master(self, index: int, master: int) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            self._route.link("set", index=index, master=master)
        except NetlinkError as error:
            kind = NotFound if error.code == errno.ENODEV else Failed
            raise kind(str(error.args[-1]), where="kernel") from error

    def _get(self, netdev: str) -> Any:
        """The link, or none; asked for alone, which is quicker than all of them."""
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return self._route.link("get", ifname=netdev)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise
            return ()

    def _one(self, netdev: str) -> Any:
        for link in self._get(netdev):
            return link
        raise NotFound(f"there is no link '{netdev}'", where="kernel")
