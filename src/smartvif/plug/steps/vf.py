"""Steps on a VF of a real NIC.

For a program of the host, the forwarder, the VF leaves its driver first and is set by its PF after
that, and comes back in the reverse order: so its own driver never finds it with a guest's address,
which it would keep.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel import vfio
from smartvif.host.vf_info import VfAdmin
from smartvif.model.errors import Failed, NotFound
from smartvif.model.known import Absent, Unknown
from smartvif.model.pci import PciAddress
from smartvif.model.verdict import HOLDS, Difference, Verdict
from smartvif.observe.observation import Observation, Scope
from smartvif.plug.steps.step import NetdevRole, Snapshot, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class VfioBinding:
    """The VF with the PCI address ``vf`` bound to vfio-pci."""

    KIND: ClassVar[str] = "VfioBinding"

    vf: PciAddress

    def describe(self) -> str:
        """Name the VF."""
        return f"bind VF {self.vf} to {vfio.DRIVER}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """Its present driver, and the MTU that its netdev has by it."""
        found = drivers.vfio.read(self.vf)
        link = drivers.links.get(found.netdev) if found.netdev is not None else None
        return {"driver": found.driver, "mtu": link.mtu if link else None}

    def do(self, drivers: Drivers) -> None:
        """Bind it."""
        drivers.vfio.bind(self.vf)

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Restore the driver it had, if the VF is still there.

        Its netdev is a new one, whose MTU is set where the driver makes it at once; where it comes
        later, it is as the driver makes it. A rule of udev's may be renaming it just now.
        """
        drivers.vfio.restore(self.vf, found["driver"])
        with suppress(NotFound):
            netdev = drivers.vfio.read(self.vf).netdev
            link = drivers.links.get(netdev) if netdev is not None else None
            if link is not None and found["mtu"] not in {None, link.mtu}:
                drivers.links.set_mtu(link.name, found["mtu"])

    def scope(self) -> Scope:
        """The VF."""
        return Scope(functions=frozenset({self.vf}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether it is bound."""
        found = seen.function(self.vf)
        if isinstance(found, Unknown):
            return found
        if isinstance(found, Absent):
            return Difference(f"VF {self.vf}", "there", "not there")
        if found.value.driver == vfio.DRIVER:
            return HOLDS
        return Difference(f"driver of VF {self.vf}", vfio.DRIVER, found.value.driver or "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class VfAdminSettings:
    """The settings of the VF ``number`` by its PF ``pf``."""

    KIND: ClassVar[str] = "VfAdminSettings"
    ROLE: ClassVar[NetdevRole] = NetdevRole.UPLINK

    pf: str
    number: int
    wanted: VfAdmin

    def describe(self) -> str:
        """Name the VF, and its address or trust."""
        trust = "trusted" if self.wanted.trusted else "not trusted"
        return f"set VF {self.number} of {self.pf} to {self.wanted.mac or trust}"

    def snapshot(self, drivers: Drivers) -> Snapshot:
        """How it is set now; empty where its driver has no settings of VFs, and needs none."""
        try:
            return asdict(drivers.links.vf_admin(self.pf, self.number))
        except NotFound:
            if self._needed:
                raise
            return {}

    def do(self, drivers: Drivers) -> None:
        """Set what differs; fails where the driver cannot set all of it.

        Trust that the driver does not know needs not be taken back. Nor is it a failure that a
        spoof check cannot be switched on, as on mlx5 in switchdev mode, where the switch has every
        frame: then another program cannot have switched it off.
        """
        found = self.snapshot(drivers)
        if found:
            self._set(drivers, VfAdmin(**found), self.wanted)

    def again(self, drivers: Drivers) -> None:
        """Set what differs; the address that the guest of a trusted VF has chosen stays."""
        found = self.snapshot(drivers)
        if found:
            now, wanted = VfAdmin(**found), self.wanted
            chosen = now.chosen_by_guest(wanted)
            self._set(drivers, now, replace(wanted, mac=None) if chosen else wanted)

    @property
    def _needed(self) -> bool:
        """Whether the driver must be able to set something: not to be trusted takes nothing."""
        return self.wanted.mac is not None or bool(self.wanted.trusted)

    def _set(self, drivers: Drivers, now: VfAdmin, wanted: VfAdmin) -> None:
        if now.trusted is None and not wanted.trusted:
            wanted = replace(wanted, trusted=None)
        if now.spoof_check is None and wanted.spoof_check:
            wanted = replace(wanted, spoof_check=None)
        unsupported = drivers.links.set_vf_admin(self.pf, self.number, wanted)
        if self.wanted.spoof_check:
            unsupported = tuple(what for what in unsupported if what != "spoof check")
        if unsupported:
            raise Failed(
                f"the driver of link '{self.pf}' cannot set the {' and the '.join(unsupported)}"
                f" of its VF {self.number}",
                where="kernel",
            )

    def undo(self, drivers: Drivers, found: Snapshot) -> None:
        """Put everything back, if the VF is still there; what could not be set needs no undoing.

        Where the driver did not report it, the VF gets neither trust nor permission to spoof: the
        next guest must not inherit them.
        """
        if not found:
            return
        before = VfAdmin(**found)
        if before.trusted is None and self.wanted.trusted:
            before = replace(before, trusted=False)
        if before.spoof_check is None and self.wanted.spoof_check is False:
            before = replace(before, spoof_check=True)
        with suppress(NotFound):
            drivers.links.set_vf_admin(self.pf, self.number, before)

    def change_to(self, new: Step) -> tuple[Step, ...]:
        """Other settings of the same VF. Trust, and permission to spoof, are withdrawn first where
        they were given, and ``new`` leaves both as they are.
        """
        if not isinstance(new, VfAdminSettings) or (new.pf, new.number) != (self.pf, self.number):
            return ()
        before, wanted = self.wanted, new.wanted
        if before.trusted and wanted.trusted is None:
            wanted = replace(wanted, trusted=False)
        if before.spoof_check is False and wanted.spoof_check is None:
            wanted = replace(wanted, spoof_check=True)
        return (new,) if wanted == new.wanted else (replace(new, wanted=wanted), new)

    def scope(self) -> Scope:
        """The PF's settings of the VF."""
        return Scope(vf_settings=frozenset({(self.pf, self.number)}))

    def compare(self, seen: Observation) -> Verdict:
        """Whether it is set like this, as far as the driver says.

        A spoof check that is to be on is not compared: not every driver can switch it.
        """
        found, subject = seen.vf_setting(self.pf, self.number), f"VF {self.number} of {self.pf}"
        if isinstance(found, Unknown):
            return found
        if isinstance(found, Absent):
            return Difference(subject, "there", "not there") if self._needed else HOLDS
        wanted = replace(self.wanted, spoof_check=None) if self.wanted.spoof_check else self.wanted
        if found.value.is_as(wanted):
            return HOLDS
        return Difference(subject, _words(self.wanted), _words(found.value))

    @property
    def vf_netdev(self) -> str:
        """The PF's own netdev."""
        return self.pf

    def renamed(self, netdev: str) -> VfAdminSettings:
        """The same VF of the same PF by another name."""
        return replace(self, pf=netdev)


def _words(settings: VfAdmin) -> str:
    address = f"set to {settings.mac}, " if settings.mac is not None else ""
    return f"{address}VLAN {settings.vlan}, trust {settings.trusted}"
