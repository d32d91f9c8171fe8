"""What the driver of a PCI function says of who has the function. Pure.

A network driver makes a netdev, which sysfs shows in the netdev's own network namespace only
(Documentation/ABI/testing/sysfs-class-net). Other drivers give the function to programs.
"""

from __future__ import annotations

from dataclasses import dataclass

from smartvif.host.sriov import Pf, Vf
from smartvif.model.pci import PciAddress

# Drivers that make no netdev: a program in user space, or another kernel, has the function.
_LENDING = frozenset({"uio_pci_generic", "igb_uio", "pci-stub", "pciback"})
_ELSEWHERE = "and its netdev is in another network namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class PfProblem:
    """Why no driver of this host can say of a PF's switch: ``what`` it is, ``hint`` what to do."""

    what: str
    hint: str


def is_vfio(driver: str | None) -> bool:
    """Whether it is vfio-pci or a variant of it, such as mlx5_vfio_pci."""
    return driver is not None and driver.replace("_", "-").endswith("vfio-pci")


def elsewhere(function: Pf | Vf) -> str | None:
    """Who has a function that has a driver and no netdev here; None where that is not so.

    One without a driver is free: libvirt binds it. One on vfio-pci is judged by who has it open.
    """
    driver = function.driver
    if driver is None or is_vfio(driver) or function.netdev is not None:
        return None
    if driver in _LENDING:
        return f"bound to {driver}, by which a program has it"
    return f"its driver {driver} has it {_ELSEWHERE}"


def pf_problem(address: PciAddress, driver: str | None, netdev: str | None) -> PfProblem | None:
    """Why a PF's eswitch cannot be read or set here; None where its driver and netdev are here.

    Its network driver alone registers the devlink device (devlink-dev(8)).
    """
    if driver is None:
        return PfProblem(
            what=f"PF {address} has no driver, so that its switch cannot be read or set here",
            hint=f"bind it to its network driver (echo {address} > /sys/bus/pci/drivers_probe),"
            " or take another PF",
        )
    if is_vfio(driver) or driver in _LENDING:
        return PfProblem(
            what=f"PF {address} is bound to {driver},"
            " so that its switch cannot be read or set here",
            hint=f"bind it to its network driver (driverctl unset-override {address}),"
            " or take another PF",
        )
    if netdev is None:
        return PfProblem(
            what=f"PF {address} has no netdev here: its driver {driver} has it {_ELSEWHERE}",
            hint="look for it with ip -all netns exec ip link, or take another PF",
        )
    return None
