"""The network interfaces of a simulated host's /sys, by the links that there are.

What an attribute says is the kernel's: below ``devices/virtual/net`` there is the kernel's own
sysfs of the host's network namespace, and an interface of the card is a directory of links to what
it has there. Ours are only what the driver of a card answers (``phys_port_name``), where the
interface is, and ``class/net``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from smartvif.sim.nic import nic, sysfs
from smartvif.sim.nic.rtnetlink import LinkState
from smartvif.sim.nic.sysfs import BUS, CardNetdev
from smartvif.sim.process import namespaces

_VIRTUAL = "devices/virtual/net"
# Where the kernel has those they lead elsewhere.
_NOT_THE_KERNELS = {"device", "subsystem", "power"}
# Each link takes a large card some hundredths of a second, and no program is known to read these.
_UNREAD = {
    *("carrier_changes", "carrier_down_count", "carrier_up_count", "dormant", "link_mode"),
    *("gro_flush_timeout", "napi_defer_hard_irqs", "netdev_group", "proto_down", "testing"),
    *("threaded", "broadcast"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A link that is in the tree by that name; ``card`` where it is the card's."""

    name: str
    card: CardNetdev | None


class NetdevTree:
    """The interfaces in the tree ``root``, which has the card's functions already.

    A link of the card is identified by its ifindex as long as it is here, and by its peer when it
    appears: names can be changed, and the ifindex by a move to a network namespace.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._shown: dict[int, _Shown] = {}
        self._indexes: dict[str, int] = {}
        self._by_peer: dict[tuple[int | None, int], CardNetdev] = {}
        self._attributes: list[str] | None = None

    def start(self, layout: nic.NicLayout, links: Iterable[LinkState]) -> None:
        """Show all links; those of the card still have the names that it was made with.

        Raises: OSError; Failed, where the kernel's sysfs cannot be mounted.
        """
        folder = f"{self._root}/{_VIRTUAL}"
        os.makedirs(folder)
        namespaces.bind(f"/sys/{_VIRTUAL}", folder)
        netdevs = {netdev.name: netdev for netdev in sysfs.card_netdevs(layout)}
        for link in links:
            if link.peer is not None and link.name in netdevs:
                self._by_peer[link.peer] = netdevs[link.name]
            self.update(link)

    def replace(self, links: Iterable[LinkState]) -> None:
        """Show these links and no others.

        Raises: OSError.
        """
        links = list(links)
        for index in self._shown.keys() - {link.index for link in links}:
            self._hide(index)
        for link in links:
            self.update(link)

    def update(self, link: LinkState) -> None:
        """Show a link by its name, and no longer by the one that it had.

        Raises: OSError.
        """
        card = self._learn(link)
        shown = self._shown.get(link.index)
        if shown is not None and shown.name == link.name:
            return
        self._hide(link.index)
        # Where events have been lost, another link may still be shown by this name; it has lost it.
        self._hide(self._indexes.get(link.name, 0))
        self._show(link.name, card)
        self._shown[link.index] = _Shown(name=link.name, card=card)
        self._indexes[link.name] = link.index

    def remove(self, link: LinkState) -> None:
        """Show a link no longer; fine where it is not shown.

        Raises: OSError.
        """
        self._learn(link)
        self._hide(link.index)

    def _learn(self, link: LinkState) -> CardNetdev | None:
        """Which interface of the card a link is; it is known by its present peer from now on."""
        shown = self._shown.get(link.index)
        if shown is None:
            return None if link.peer is None else self._by_peer.get(link.peer)
        if shown.card is not None and link.peer is not None:
            self._by_peer[link.peer] = shown.card
        return shown.card

    def _show(self, name: str, card: CardNetdev | None) -> None:
        folder = f"{_VIRTUAL}/{name}" if card is None else f"{BUS}/{card.function}/net/{name}"
        if card is not None:
            self._write(f"{self._root}/{folder}", name, card)
        os.symlink(f"../../{folder}", f"{self._root}/class/net/{name}")

    def _hide(self, index: int) -> None:
        shown = self._shown.pop(index, None)
        if shown is None:
            return
        del self._indexes[shown.name]
        os.unlink(f"{self._root}/class/net/{shown.name}")
        if shown.card is not None:
            folder = f"{self._root}/{BUS}/{shown.card.function}/net/{shown.name}"
            for name in os.listdir(folder):
                os.unlink(f"{folder}/{name}")
            os.rmdir(folder)

    def _write(self, folder: str, name: str, card: CardNetdev) -> None:
        """The directory of one of the card's interfaces."""
        kernels = f"../../../../virtual/net/{name}"
        os.mkdir(folder)
        sysfs.write_files(folder, card.attributes)
        for attribute in self._kernels_attributes(name, card.attributes):
            os.symlink(f"{kernels}/{attribute}", f"{folder}/{attribute}")
        os.symlink(f"../../../{card.function}", f"{folder}/device")
        os.symlink("../../../../../class/net", f"{folder}/subsystem")

    def _kernels_attributes(self, name: str, own: Mapping[str, str]) -> list[str]:
        """What the kernel has of an interface of the card, all of which are veths, and we do not.

        The link may have gone, or have got another name, since the event; so it is asked once.
        """
        if self._attributes is None:
            found = os.listdir(f"{self._root}/{_VIRTUAL}/{name}")
            self._attributes = sorted(set(found) - _NOT_THE_KERNELS - _UNREAD)
        return [attribute for attribute in self._attributes if attribute not in own]
