"""The host's network links. Everything here that changes something needs CAP_NET_ADMIN.

This is the whole of what smartvif asks of the kernel's rtnetlink(7): a short list of typed calls.
Names are looked up at each call, because a link may be gone, renamed or back at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from smartvif.model.errors import Failed, NotFound

_IFF_UP = 1  # include/uapi/linux/if.h
_ETH_P_ALL = 3  # include/uapi/linux/if_ether.h
_INGRESS = 0xFFFF0000  # TC_H_INGRESS, include/uapi/linux/pkt_sched.h
_ENODEV = 19
_NO_QDISC = frozenset({2, 19, 22})  # what the kernel says where there is none to delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A netdev. ``mtu`` in bytes."""

    name: str
    index: int
    mac: str
    mtu: int
    up: bool


class Links:
    """The links of one network namespace: ours, or the one named ``netns`` (ip-netns(8))."""

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns
        self._lock = threading.Lock()

    def get(self, name: str) -> Link | None:
        """The link called ``name``, or None."""
        with self._lock:
            return self._get(name)

    def names(self) -> tuple[str, ...]:
        """The names of all links, sorted."""
        with self._lock:
            return tuple(sorted(link.get("ifname") for link in self._route.get_links()))

    def set_up(self, name: str, *, mtu: int | None = None) -> None:
        """Bring a link up, with ``mtu`` bytes if given.

        Raises: NotFound, Failed with the kernel's words.
        """
        self._set(name, state="up", **({} if mtu is None else {"mtu": mtu}))

    def set_down(self, name: str) -> None:
        """Take a link down.

        Raises: NotFound, Failed.
        """
        self._set(name, state="down")

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set a link's MTU in bytes.

        Raises: NotFound, Failed.
        """
        self._set(name, mtu=mtu)

    def set_mac(self, name: str, mac: str) -> None:
        """Set a link's MAC address.

        Raises: NotFound, Failed.
        """
        self._set(name, address=mac)

    def set_master(self, name: str, bridge: str) -> None:
        """Put a link into a Linux bridge.

        Raises: NotFound, Failed.
        """
        master = self.get(bridge)
        if master is None:
            raise NotFound(f"there is no link '{bridge}'", where="netlink")
        self._set(name, master=master.index)

    def add_tap(self, name: str, *, multi_queue: bool = False) -> None:
        """Make a TAP that root may open without capabilities, and that stays when it is closed.

        Raises: Failed.
        """
        queues = {"ifr": {"multi_queue": 1}} if multi_queue else {}
        with self._lock, _kernel(f"adding tap '{name}'"):
            self._route.link("add", ifname=name, kind="tuntap", mode="tap", uid=0, **queues)

    def add_veth(self, name: str, peer: str) -> None:
        """Make a pair of links, each the other's far end.

        Raises: Failed.
        """
        with self._lock, _kernel(f"adding veth '{name}'"):
            self._route.link("add", ifname=name, kind="veth", peer={"ifname": peer})

    def add_bridge(self, name: str) -> None:
        """Make a Linux bridge that forwards at once and floods every frame.

        No spanning tree and no delay, so that a port works when it is added; ageing 0, so that
        a migrated guest's frames are not sent to where it was.
        Raises: Failed.
        """
        with self._lock, _kernel(f"adding bridge '{name}'"):
            self._route.link(
                "add",
                ifname=name,
                kind="bridge",
                br_stp_state=0,
                br_forward_delay=0,
                br_ageing_time=0,
                br_mcast_snooping=0,
            )

    def delete(self, name: str) -> None:
        """Delete a link; one that is not there is deleted already.

        Raises: Failed.
        """
        with self._lock:
            link = self._get(name)
            if link is not None:
                with _kernel(f"deleting link '{name}'", tolerate={_ENODEV}):
                    self._route.link("del", index=link.index)

    def move(self, name: str, to: str | None) -> None:
        """Move a link into the namespace named ``to``, or to this process's own (None).

        Raises: NotFound, Failed.
        """
        if to is not None:
            self._set(name, net_ns_fd=to)
            return
        with open("/proc/self/ns/net", "rb") as here:
            self._set(name, net_ns_fd=here.fileno())

    def redirect(self, source: str, target: str) -> None:
        """Send out of ``target`` every frame that comes in by ``source`` (tc-mirred(8)).

        Raises: NotFound, Failed.
        """
        with self._lock, _kernel(f"redirecting '{source}' to '{target}'"):
            here, there = (self._existing(name).index for name in (source, target))
            with _kernel("clearing", tolerate=_NO_QDISC):
                self._route.tc("del", "ingress", here)
            self._route.tc("add", "ingress", here)
            self._route.tc(
                "add-filter",
                "u32",
                here,
                parent=_INGRESS,
                protocol=_ETH_P_ALL,
                target=0x10000,
                keys=["0x0/0x0+0"],
                action={
                    "kind": "mirred",
                    "direction": "egress",
                    "action": "redirect",
                    "ifindex": there,
                },
            )

    def end_redirect(self, source: str) -> None:
        """Let frames that come in by ``source`` go their ordinary way again.

        Raises: Failed.
        """
        with self._lock:
            link = self._get(source)
            if link is not None:
                with _kernel(f"freeing '{source}'", tolerate=_NO_QDISC):
                    self._route.tc("del", "ingress", link.index)

    def close(self) -> None:
        """Close the netlink socket."""
        with self._lock:
            if "_route" in self.__dict__:
                self._route.close()
                del self.__dict__["_route"]

    @cached_property
    def _route(self) -> Any:
        from pyroute2 import IPRoute

        return IPRoute(netns=self._netns) if self._netns else IPRoute()

    def _get(self, name: str) -> Link | None:
        with _kernel(f"reading link '{name}'", tolerate={_ENODEV}):
            (found,) = self._route.link("get", ifname=name)
            return Link(
                name=name,
                index=found["index"],
                mac=found.get("address"),
                mtu=found.get("mtu"),
                up=bool(found["flags"] & _IFF_UP),
            )
        return None

    def _existing(self, name: str) -> Link:
        link = self._get(name)
        if link is None:
            raise NotFound(f"there is no link '{name}'", where="netlink", hint="see: ip link")
        return link

    def _set(self, name: str, **values: Any) -> None:
        with self._lock, _kernel(f"setting link '{name}'"):
            self._route.link("set", index=self._existing(name).index, **values)


@contextmanager
def _kernel(doing: str, tolerate: frozenset[int] | set[int] = frozenset()) -> Iterator[None]:
    """The kernel's errors as ours; those tolerated end the block quietly."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except (NetlinkError, OSError) as error:
        code = error.code if isinstance(error, NetlinkError) else error.errno
        if code not in tolerate:
            words = error.args[-1] if error.args else error
            hint = "it needs CAP_NET_ADMIN: run it as root" if code in {1, 13} else ""
            raise Failed(f"{doing}: {words}", where="netlink", hint=hint) from error
