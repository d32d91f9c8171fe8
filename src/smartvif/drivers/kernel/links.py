"""The host's network links. Everything here that changes something needs CAP_NET_ADMIN.

This is all that smartvif uses of the kernel's rtnetlink(7): a short list of typed calls.
Names are looked up at each call, because a link may be gone, renamed or back at any time.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from smartvif.drivers.kernel import netdevice
from smartvif.drivers.kernel.netdevice import Link
from smartvif.host import vf_info
from smartvif.host.vf_info import VfAdmin
from smartvif.model.errors import Failed, NotFound, Refused

_ETH_P_ALL = 3  # include/uapi/linux/if_ether.h
_INGRESS = 0xFFFF0000  # TC_H_INGRESS, include/uapi/linux/pkt_sched.h
# The kernel's errors where there is no queueing discipline to delete, or no link.
_NO_QDISC = frozenset({errno.ENOENT, errno.EINVAL, errno.ENODEV})
_NOT_ALLOWED = frozenset({errno.EPERM, errno.EACCES})
_IFF_TAP = 2  # include/uapi/linux/if_tun.h
_PLACEHOLDER_MAC = "02:00:00:00:00:00"  # locally administered (IEEE 802, 8.4)


class Links:
    """The links of one network namespace: ours, or the one named ``netns`` (ip-netns(8))."""

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns
        self._lock = threading.Lock()

    def get(self, name: str) -> Link | None:
        """The link called ``name``, or None."""
        found = None
        with _kernel(f"reading link '{name}'"):
            found = netdevice.get(self._channel, name)
        return found

    def names(self) -> tuple[str, ...]:
        """The names of all links, sorted."""
        with self._lock:
            return tuple(sorted(link.get("ifname") for link in self._route.get_links()))

    def set_up(self, name: str, *, mtu: int | None = None) -> None:
        """Bring a link up, with ``mtu`` bytes if given.

        Raises: NotFound, Failed with the kernel's words.
        """
        if mtu is not None:
            self.set_mtu(name, mtu)
        with _kernel(f"bringing link '{name}' up"):
            netdevice.set_up(self._channel, name, up=True)

    def set_down(self, name: str) -> None:
        """Take a link down.

        Raises: NotFound, Failed.
        """
        with _kernel(f"taking link '{name}' down"):
            netdevice.set_up(self._channel, name, up=False)

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set a link's MTU in bytes.

        Raises: NotFound, Failed.
        """
        with _kernel(f"setting the MTU of link '{name}' to {mtu}"):
            netdevice.set_mtu(self._channel, name, mtu)

    def set_mac(self, name: str, mac: str) -> None:
        """Set a link's MAC address.

        Raises: NotFound, Failed.
        """
        with _kernel(f"setting the address of link '{name}' to {mac}"):
            netdevice.set_mac(self._channel, name, mac)

    def set_master(self, name: str, bridge: str) -> None:
        """Put a link into a Linux bridge.

        Raises: NotFound, Failed.
        """
        with self._lock, _netlink(f"putting link '{name}' into '{bridge}'"):
            self._route.link("set", ifname=name, master=self._index(bridge))

    def vf_admin(self, pf: str, number: int) -> VfAdmin:
        """The settings that ``pf`` has for its VF ``number``.

        Raises: NotFound, for a PF or VF that is not there; Failed.
        """
        link = None
        with self._lock, _netlink(f"reading the VFs of link '{pf}'"):
            (link,) = self._route.link("get", ifname=pf, ext_mask=vf_info.WITH_VFS)
        found = vf_info.admin(link, number)
        if found is None:
            raise NotFound(f"link '{pf}' has no VF {number}", where="kernel")
        return found

    def set_vf_admin(self, pf: str, number: int, wanted: VfAdmin) -> tuple[str, ...]:
        """Set the VF ``number`` of ``pf`` as ``wanted``, where it differs.

        Returns the names of settings that differ and that the PF's driver cannot set, for people.
        Raises: NotFound; Refused, for a VLAN that could not be put back; Failed.
        """
        now = self.vf_admin(pf, number)
        changes = dict(now.changes(wanted))
        if "VLAN" in changes and now.vlan and now.vlan_protocol != vf_info.DOT1Q:
            raise Refused(
                f"VF {number} of link '{pf}' is in VLAN {now.vlan}, which is not of 802.1Q",
                where="kernel",
                hint=f"take it out: ip link set {pf} vf {number} vlan 0",
            )
        return tuple(what for what in changes if not self._set_vf(pf, number, what, changes[what]))

    def add_tap(self, name: str, *, multi_queue: bool = False) -> None:
        """Make a TAP that root may open without capabilities, and that stays when it is closed.

        Raises: Failed.
        """
        with _kernel(f"adding tap '{name}'"):
            netdevice.add_tap(name, owner=0, multi_queue=multi_queue)

    def is_idle_tap(self, name: str) -> bool:
        """Whether a link is a TAP as ``add_tap`` makes it, and no process has it open.

        It has a carrier while one has (drivers/net/tun.c, __tun_detach).
        Raises: NotFound, Failed.
        """
        found = None
        with self._lock, _netlink(f"reading link '{name}'"):
            (found,) = self._route.link("get", ifname=name)
        info = found.get_attr("IFLA_LINKINFO") if found else None
        if not info or info.get_attr("IFLA_INFO_KIND") != "tun":
            return False
        made = {"IFLA_TUN_TYPE": _IFF_TAP, "IFLA_TUN_PERSIST": 1, "IFLA_TUN_OWNER": 0}
        tun = info.get_attr("IFLA_INFO_DATA")
        is_ours = all(tun.get_attr(attribute) == value for attribute, value in made.items())
        return is_ours and not found.get_attr("IFLA_CARRIER")

    def add_veth(self, name: str, peer: str) -> None:
        """Make a pair of links, each the other's far end.

        Raises: Failed.
        """
        with self._lock, _netlink(f"adding veth '{name}'"):
            self._route.link("add", ifname=name, kind="veth", peer={"ifname": peer})

    def add_bridge(self, name: str) -> None:
        """Make a Linux bridge that forwards at once and floods every frame.

        No spanning tree and no delay, so that a port works when it is added; ageing 0, so that
        a migrated guest's frames are not sent to where it was.
        Raises: Failed.
        """
        with self._lock, _netlink(f"adding bridge '{name}'"):
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
        """Delete a link. Idempotent.

        Raises: Failed.
        """
        with self._lock, _netlink(f"deleting link '{name}'", tolerate={errno.ENODEV}):
            self._route.link("del", index=self._index(name))

    def move(self, name: str, to: str | None) -> None:
        """Move a link into the namespace named ``to``, or to this process's own (None).

        Raises: NotFound, Failed.
        """
        with self._lock, _netlink(f"moving link '{name}'"):
            if to is not None:
                self._route.link("set", ifname=name, net_ns_fd=to)
                return
            with open("/proc/self/ns/net", "rb") as here:
                self._route.link("set", ifname=name, net_ns_fd=here.fileno())

    def redirect(self, source: str, target: str) -> None:
        """Send out of ``target`` every frame that comes in by ``source`` (tc-mirred(8)).

        Raises: NotFound, Failed.
        """
        with self._lock, _netlink(f"redirecting '{source}' to '{target}'"):
            here, there = self._index(source), self._index(target)
            with _netlink("clearing", tolerate=_NO_QDISC):
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
        """End the redirection of frames that come in by ``source``. Idempotent.

        Raises: Failed.
        """
        with self._lock, _netlink(f"freeing '{source}'", tolerate=_NO_QDISC):
            self._route.tc("del", "ingress", self._index(source))

    def close(self) -> None:
        """Close the sockets; a later call opens new ones."""
        with self._lock:
            for name in ("_route", "_channel"):
                if name in self.__dict__:
                    self.__dict__.pop(name).close()

    @cached_property
    def _route(self) -> Any:
        from pyroute2 import IPRoute

        return IPRoute(netns=self._netns) if self._netns else IPRoute()

    @cached_property
    def _channel(self) -> socket.socket:
        """A socket for netdevice(7); it stays in the namespace that it was made in."""
        if self._netns is None:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        from concurrent.futures import ThreadPoolExecutor

        from pyroute2 import netns

        def inside() -> socket.socket:
            netns.setns(self._netns)
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        # setns(2) changes the calling thread only: a thread that ends right after.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(inside).result()

    def _set_vf(self, pf: str, number: int, what: str, setting: dict[str, Any]) -> bool:
        """Set one thing of a VF; False where the PF's driver cannot set it."""
        from pyroute2.netlink.exceptions import NetlinkError

        done = False
        doing = f"setting the {what} of VF {number} of link '{pf}'"
        with self._lock, _netlink(doing, tolerate={errno.EOPNOTSUPP}):
            index = self._index(pf)
            try:
                self._route.link("set", index=index, vf={"vf": number, **setting})
            except NetlinkError as error:
                if setting != {"mac": vf_info.NO_MAC} or error.code != errno.EINVAL:
                    raise
                # Some drivers cannot clear a VF's address once it is set (qede's, older ones of
                # ixgbe and igb). It gets a placeholder, so that no guest's address stays.
                self._route.link("set", index=index, vf={"vf": number, "mac": _PLACEHOLDER_MAC})
            done = True
        return done

    def _index(self, name: str) -> int:
        (found,) = self._route.link("get", ifname=name)
        return int(found["index"])


@contextmanager
def _kernel(doing: str, tolerate: frozenset[int] | set[int] = frozenset()) -> Iterator[None]:
    """The kernel's errors as ours; those tolerated end the block quietly."""
    try:
        yield
    except OSError as error:
        if error.errno in tolerate:
            return
        if error.errno == errno.ENODEV:
            raise NotFound(f"{doing}: there is no such link", where="kernel") from error
        hint = "run it as root: it needs CAP_NET_ADMIN" if error.errno in _NOT_ALLOWED else ""
        what = f"{doing}: {os.strerror(error.errno or 0)}"
        raise Failed(what, where="kernel", hint=hint) from error


@contextmanager
def _netlink(doing: str, tolerate: frozenset[int] | set[int] = frozenset()) -> Iterator[None]:
    """The same where pyroute2 is used, whose errors are of its own class.

    Apart, because to import pyroute2 takes longer than all else that a command does which only
    reads links.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    with _kernel(doing, tolerate):
        try:
            yield
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from error
