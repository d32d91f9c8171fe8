"""Tunnels to the other hosts: one VXLAN netdev of the kernel for each virtual network (RFC 7348).

There is no control plane here. The hosts are a list that does not change, whatever is not for one
known address goes to all of them, and the kernel learns who is where from what comes back.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from smartvif.model.errors import Failed

_PORT = 4789  # RFC 7348
_VNI = 0xFFFFFF
_NAME = re.compile(r"vrx[0-9a-f]{6}")
_EVERYBODY = "00:00:00:00:00:00"  # the address of what no entry is for (bridge(8), vxlan)


def vni(network: UUID) -> int:
    """The number that a network has on the wire: the last 24 bits of its name, on every host."""
    return network.int & _VNI


def name(number: int) -> str:
    """The netdev of a VNI's tunnel."""
    return f"vrx{number:06x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnels:
    """From this host's address on the network between the hosts to the other hosts' addresses."""

    address: str
    peers: tuple[str, ...]

    def add(self, number: int) -> None:
        """Make the tunnel of a VNI and bring it up.

        Its MTU is the kernel's: that of the interface with the address, less what a tunnel adds.
        Raises: Failed, with the kernel's words; then nothing is left of it.
        """
        netdev = name(number)
        with _kernel(f"making tunnel '{netdev}'") as route:
            lower = self._interface(route)
            route.link(
                "add",
                ifname=netdev,
                kind="vxlan",
                vxlan_id=number,
                vxlan_local=self.address,
                vxlan_port=_PORT,
                vxlan_link=lower,
                vxlan_learning=1,
            )
            index = socket.if_nametoindex(netdev)
            try:
                for peer in self.peers:
                    route.fdb("append", ifindex=index, lladdr=_EVERYBODY, dst=peer)
                route.link("set", index=index, state="up")
            except BaseException:
                route.link("del", index=index)
                raise

    def _interface(self, route: Any) -> int:
        for found in route.get_addr(family=socket.AF_INET):
            if found.get("local") == self.address:
                return int(found["index"])
        raise Failed(
            f"no interface has the underlay's address {self.address}", where="simulated vRouter"
        )


def delete(netdev: str) -> None:
    """Delete a tunnel.

    Raises: Failed.
    """
    with _kernel(f"deleting tunnel '{netdev}'") as route:
        for index, found in socket.if_nameindex():
            if found == netdev:
                route.link("del", index=index)


def flush() -> None:
    """Delete the tunnels that a dead vRouter left.

    Raises: Failed.
    """
    for _, netdev in socket.if_nameindex():
        if _NAME.fullmatch(netdev):
            delete(netdev)


@contextmanager
def _kernel(doing: str) -> Iterator[Any]:
    """The kernel's rtnetlink(7), and its errors as ours."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except (NetlinkError, OSError) as error:
        raise Failed(f"{doing}: {error.args[-1]}", where="kernel") from error
