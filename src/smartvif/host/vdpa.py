"""Which PCI functions have a vDPA device, read from sysfs."""

from __future__ import annotations

import os
from pathlib import Path

from smartvif.host import sysfs
from smartvif.host.sriov import SYSFS
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress


def functions(root: Path = SYSFS) -> frozenset[PciAddress]:
    """The functions right below which there is a vDPA device, whatever its name.

    That of an SF is below the SF, not below the PF (drivers/vdpa/mlx5). One scan of the whole host,
    whose cost grows with the number of vDPA devices.
    """
    folder = f"{root}/bus/vdpa/devices"
    parents = (_parent(f"{folder}/{name}") for name in sysfs.names(folder))
    return frozenset(parent for parent in parents if parent is not None)


def _parent(device: str) -> PciAddress | None:
    try:
        return PciAddress.parse(Path(os.readlink(device)).parent.name)
    except (OSError, Invalid):
        return None
