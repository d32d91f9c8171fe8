"""The interface to a host's network links, whichever process implements it.

``Links`` works in this process, the privileged links of smartvif.openstack by a daemon. Errors
are those of ``Links``.
"""

from __future__ import annotations

from typing import Protocol

from smartvif.drivers.kernel.netdevice import Link
from smartvif.host.vf_info import VfAdmin


class LinkReader(Protocol):
    """Reading, which takes no privilege."""

    def get(self, name: str) -> Link | None:
        """The link called ``name``, or None."""

    def vf_admin(self, pf: str, number: int) -> VfAdmin:
        """The settings that ``pf`` has for its VF ``number``."""

    def is_idle_tap(self, name: str) -> bool:
        """Whether a link is a TAP as ``add_tap`` makes it, and no process has it open."""


class LinkWriter(Protocol):
    """Changes, which need CAP_NET_ADMIN."""

    def set_up(self, name: str, *, mtu: int | None = None) -> None:
        """Bring a link up, with ``mtu`` bytes if given."""

    def set_down(self, name: str) -> None:
        """Take a link down."""

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set a link's MTU in bytes."""

    def set_mac(self, name: str, mac: str) -> None:
        """Set a link's MAC address."""

    def set_master(self, name: str, bridge: str) -> None:
        """Put a link into a Linux bridge."""

    def set_vf_admin(self, pf: str, number: int, wanted: VfAdmin) -> tuple[str, ...]:
        """Set the VF ``number`` of ``pf``; the names of what its driver does not let be set."""

    def add_tap(self, name: str, *, multi_queue: bool = False) -> None:
        """Make a TAP that stays when it is closed."""

    def add_veth(self, name: str, peer: str) -> None:
        """Make a pair of links, each the other's far end."""

    def add_bridge(self, name: str) -> None:
        """Make a Linux bridge that forwards at once and floods every frame."""

    def delete(self, name: str) -> None:
        """Delete a link. Idempotent."""

    def move(self, name: str, to: str) -> None:
        """Move a link into the network namespace named ``to``."""

    def redirect(self, source: str, target: str) -> None:
        """Send out of ``target`` every frame that comes in by ``source``."""

    def end_redirect(self, source: str) -> None:
        """End the redirection of frames that come in by ``source``. Idempotent."""


class LinkDriver(LinkReader, LinkWriter, Protocol):
    """Reading and changes: what a plan needs of a host's links."""
