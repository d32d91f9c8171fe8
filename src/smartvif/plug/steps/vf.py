"""Steps on a VF of a real NIC that a program of the host, a forwarder, is to have.

The VF leaves its driver first and is set by its PF after that, and comes back in the reverse order:
so its own driver never finds it with a guest's address, which it would keep.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel import vfio
from smartvif.host.vf_admin import VfAdmin
from smartvif.model.errors import Failed, NotFound
from smartvif.model.pci import PciAddress
from smartvif.plug.steps.step import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class VfioBinding:
    """The VF with the PCI address ``vf`` bound to vfio-pci."""

    KIND: ClassVar[str] = "VfioBinding"

    vf: str

    def describe(self) -> str:
        """Name the VF."""
        return f"bind VF {self.vf} to {vfio.DRIVER}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Its present driver, and the MTU that its netdev has by it."""
        found = drivers.vfio.read(self._address)
        link = drivers.links.get(found.netdev) if found.netdev is not None else None
        return {"driver": found.driver, "mtu": link.mtu if link else None}

    def do(self, drivers: Drivers) -> None:
        """Bind it."""
        drivers.vfio.bind(self._address)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Give it back to the driver it had, if it is still there.

        Its netdev is a new one, whose MTU is set where the driver makes it at once; where it comes
        later, it is as the driver makes it. A rule of udev's may be renaming it just now.
        """
        drivers.vfio.restore(self._address, found["driver"])
        with suppress(NotFound):
            netdev = drivers.vfio.read(self._address).netdev
            link = drivers.links.get(netdev) if netdev is not None else None
            if link is not None and found["mtu"] not in {None, link.mtu}:
                drivers.links.set_mtu(link.name, found["mtu"])

    def check(self, drivers: Drivers) -> bool:
        """Whether it is bound."""
        with suppress(NotFound):
            return drivers.vfio.read(self._address).driver == vfio.DRIVER
        return False

    @property
    def _address(self) -> PciAddress:
        return PciAddress.parse(self.vf)


@dataclass(frozen=True, slots=True, kw_only=True)
class VfAdminSettings:
    """The VF ``number`` of the PF ``pf`` as its PF is to set it."""

    KIND: ClassVar[str] = "VfAdminSettings"

    pf: str
    number: int
    wanted: VfAdmin

    def describe(self) -> str:
        """Name the VF and its address."""
        return f"set VF {self.number} of {self.pf} to {self.wanted.mac}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """How it is set now."""
        return asdict(drivers.links.vf_admin(self.pf, self.number))

    def do(self, drivers: Drivers) -> None:
        """Set what differs; a driver that cannot set all of it has it fail."""
        unsupported = drivers.links.set_vf_admin(self.pf, self.number, self.wanted)
        if unsupported:
            raise Failed(
                f"the driver of link '{self.pf}' cannot set the {' and the '.join(unsupported)}"
                f" of its VF {self.number}",
                where="kernel",
            )

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Put everything back, if the VF is still there; what could not be set needs no undoing.

        Where the driver did not say, the VF gets neither trust nor leave to spoof: the next guest
        must not inherit them.
        """
        before = VfAdmin(**found)
        if before.trusted is None and self.wanted.trusted:
            before = replace(before, trusted=False)
        if before.spoof_check is None and self.wanted.spoof_check is False:
            before = replace(before, spoof_check=True)
        with suppress(NotFound):
            drivers.links.set_vf_admin(self.pf, self.number, before)

    def check(self, drivers: Drivers) -> bool:
        """Whether it is set like this, as far as the driver says."""
        with suppress(NotFound):
            return drivers.links.vf_admin(self.pf, self.number).is_as(self.wanted)
        return False
