"""Binding of VFs to vfio-pci, for programs to use them, and restoring of their own driver.

Documentation/ABI/testing/sysfs-bus-pci, "bind", "unbind" and "driver_override". These files are
root's; to write them takes no capability.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from time import monotonic, sleep

from smartvif.host import sriov, sysfs
from smartvif.host.sriov import SYSFS, Vf
from smartvif.model.errors import Failed, NotFound, Refused, TimedOut
from smartvif.model.pci import PciAddress

DRIVER = "vfio-pci"
_PATIENCE = 5.0  # seconds for a process that has a VF open to close it
_PAUSE = 0.02  # seconds; there is no event for it
_IFF_UP = 1  # include/uapi/linux/if.h
_NOT_ALLOWED = frozenset({errno.EPERM, errno.EACCES, errno.EROFS})
# A newline clears driver_override in every kernel; some take a NUL for the name of a driver, and an
# empty write does not reach the kernel at all.
_CLEAR = "\n"


class Vfio:
    """The drivers of a host's VFs, below the sysfs ``root``.

    ``patience`` in seconds is for a VF that is to come back and is still open.
    """

    def __init__(self, root: Path = SYSFS, *, patience: float = _PATIENCE) -> None:
        self._root = root
        self._drivers = f"{root}/bus/pci/drivers"
        self._patience = patience

    def read(self, address: PciAddress) -> Vf:
        """A VF as it is now.

        Raises: NotFound.
        """
        return sriov.vf(address, self._root)

    def bind(self, address: PciAddress) -> None:
        """Bind a VF to vfio-pci; one that is so already is left alone.

        When an error comes between two writes, the VF may be without a driver; ``restore``
        finishes.
        Raises: NotFound; Refused, where something uses the VF or it could not be given to a
        program, or not come back; Failed, with the kernel's words.
        """
        found = self._vf_only(address)
        if found.driver == DRIVER:
            return
        self._refuse_unusable(found)
        self._refuse_used(found)
        self._refuse_one_way(found, found.driver)
        override = f"{self._folder(address)}/driver_override"
        # First, so that no driver that is loaded meanwhile finds the VF free.
        _tell(override, DRIVER, f"reserving VF {address} for {DRIVER}")
        try:
            if found.driver is not None:
                self._unbind(address, found.driver)
            self._bind(address, DRIVER)
        finally:
            _tell(override, _CLEAR, f"ending the reservation of VF {address}")

    def restore(self, address: PciAddress, driver: str | None) -> None:
        """Bind a VF that ``bind`` took, wholly or in part, to the driver it had, or to none.

        A VF that had vfio-pci before, is gone, or has got another driver since, is left alone. The
        kernel lets only a driver take the VF that has its identifier in its own table: there is no
        override for this direction.
        Raises: Refused, where the VF could not get the driver; TimedOut, where a program has it
        open; Failed, with the kernel's words.
        """
        try:
            found = self.read(address)
        except NotFound:
            return
        if driver == DRIVER or found.driver not in {DRIVER, None, driver}:
            return
        override = f"{self._folder(address)}/driver_override"
        if sysfs.read(override) == DRIVER:
            _tell(override, _CLEAR, f"ending the reservation of VF {address}")
        if found.driver == driver:
            return
        self._refuse_one_way(found, driver)
        if found.driver is not None:
            self._await_closed(address)
            self._unbind(address, found.driver)
        if driver is not None:
            self._bind(address, driver)

    def _folder(self, address: PciAddress) -> str:
        return f"{self._root}/bus/pci/devices/{address}"

    def _vf_only(self, address: PciAddress) -> Vf:
        folder, where = self._folder(address), str(address)
        if sysfs.read(f"{folder}/vendor") is not None:
            # Only a PF has this file (drivers/pci/iov.c, sriov_pf_attrs_are_visible).
            if sysfs.read(f"{folder}/sriov_numvfs") is not None:
                raise Refused("it is a PF", where=where, hint="give the address of one of its VFs")
            if sysfs.target(f"{folder}/physfn") is None:
                raise Refused("it is not a VF", where=where, hint="give the address of a VF")
        return self.read(address)

    def _refuse_unusable(self, found: Vf) -> None:
        """Check that a program can get the VF. Raises: Refused."""
        folder, where = self._folder(found.address), f"VF {found.address}"
        if DRIVER not in sysfs.names(self._drivers):
            raise Refused(f"{DRIVER} is not loaded", where=where, hint=f"modprobe {DRIVER}")
        if found.iommu_group is None:
            raise Refused(
                "it is in no IOMMU group",
                where=where,
                hint="switch the IOMMU on in the firmware, and boot with intel_iommu=on on Intel",
            )
        others = set(sysfs.names(f"{folder}/iommu_group/devices")) - {str(found.address)}
        if others:
            raise Refused(
                f"its IOMMU group {found.iommu_group} has also {', '.join(sorted(others))}",
                where=where,
                hint="use a slot, or a machine, that isolates it (PCIe ACS)",
            )
        pinned = sysfs.read(f"{folder}/driver_override")
        if pinned not in {"(null)", "", DRIVER}:
            raise Refused(
                f"its driver_override is {pinned}",
                where=where,
                hint="end that where it was set: driverctl(8), or echo > driver_override",
            )

    def _refuse_used(self, found: Vf) -> None:
        """Check that nothing on this host uses the VF. Raises: Refused."""
        where = f"VF {found.address}"
        if found.driver is None:
            return
        folder = f"{self._folder(found.address)}/net"
        netdevs = sorted(sysfs.names(folder))
        if not netdevs:
            # sysfs shows the netdevs of one network namespace alone.
            raise Refused(
                f"it is bound to {found.driver}, and has no netdev here",
                where=where,
                hint="a container or a program may have it: look for it with ip -all netns exec"
                " ip link",
            )
        for netdev in netdevs:
            flags = sysfs.read(f"{folder}/{netdev}/flags")
            if flags is None or int(flags, 16) & _IFF_UP:
                raise Refused(
                    f"its netdev '{netdev}' is not down",
                    where=where,
                    hint=f"if nothing needs it: ip link set {netdev} down",
                )
            links = [
                name for name in sysfs.names(f"{folder}/{netdev}") if name.startswith("upper_")
            ]
            if links:
                raise Refused(
                    f"its netdev '{netdev}' is below {', '.join(sorted(links))}".replace(
                        "upper_", ""
                    ),
                    where=where,
                    hint="take it out of its bridge or bond, or delete what is on top of it",
                )

    def _refuse_one_way(self, found: Vf, driver: str | None) -> None:
        """Check that the VF can get ``driver``. Raises: Refused."""
        if driver is None:
            return
        if driver not in sysfs.names(self._drivers):
            raise Refused(
                f"the driver {driver} is not loaded",
                where=f"VF {found.address}",
                hint=f"modprobe {driver}",
            )
        # drivers/pci/pci-driver.c, pci_device_can_probe
        autoprobe = f"{self._folder(found.pf)}/sriov_drivers_autoprobe"
        if sysfs.number(autoprobe) == 0:
            raise Refused(
                f"the kernel would not give it to {driver} again",
                where=f"VF {found.address}",
                hint=f"write 1 to {autoprobe}",
            )

    def _await_closed(self, address: PciAddress) -> None:
        """Wait until no program has a VF open: the kernel itself would wait without a deadline.

        vfio-pci enables a device while it is open (drivers/vfio/pci/vfio_pci_core.c).
        Raises: TimedOut.
        """
        deadline = monotonic() + self._patience
        while sysfs.number(f"{self._folder(address)}/enable"):
            if monotonic() >= deadline:
                raise TimedOut(
                    "a program still has it open",
                    where=f"VF {address}",
                    hint="end the forwarder or the machine that has it: fuser -v /dev/vfio/*",
                )
            sleep(_PAUSE)

    def _unbind(self, address: PciAddress, driver: str) -> None:
        _tell(
            f"{self._drivers}/{driver}/unbind", str(address), f"taking VF {address} from {driver}"
        )

    def _bind(self, address: PciAddress, driver: str) -> None:
        doing = f"giving VF {address} to {driver}"
        _tell(f"{self._drivers}/{driver}/bind", str(address), doing)
        now = sysfs.target(f"{self._folder(address)}/driver")
        if now != driver:
            raise Failed(
                f"{doing}: its driver is {now or 'none'} after that", where="kernel", hint=_SEE_LOG
            )


_SEE_LOG = "the kernel's log may say why: dmesg"


def _tell(path: str, text: str, doing: str) -> None:
    """Write to sysfs; the kernel acts before it returns.

    Raises: Failed.
    """
    try:
        _write(path, text)
    except OSError as error:
        hint = "run it as root" if error.errno in _NOT_ALLOWED else _SEE_LOG
        raise Failed(f"{doing}: {error.strerror}", where=path, hint=hint) from error


def _write(path: str, text: str) -> None:
    """One write(2), which is one act of the kernel's (Documentation/filesystems/sysfs.rst)."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
