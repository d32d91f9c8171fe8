"""Bonds of the kernel, and whether a card shares its VFs over one ("VF-LAG").

Documentation/networking/bonding.rst. Which bonds a card can take over follows from what the kernel
tells its driver about them: drivers/net/bonding/bond_main.c, bond_lag_tx_type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smartvif.host import sysfs
from smartvif.host.sriov import SYSFS, EswitchMode, Pf

# Modes in which one port sends a flow: the active one, or the one chosen by a hash.
_SHARED = ("active-backup", "balance-xor", "802.3ad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond:
    """A bond. ``mode`` is the kernel's name of it, ``ports`` are its interfaces in their order."""

    name: str
    mode: str
    ports: tuple[str, ...]


def of(netdev: str, root: Path = SYSFS) -> Bond | None:
    """The bond that an interface is a port of; None where it is in none."""
    name = sysfs.target(f"{root}/class/net/{netdev}/master")
    # A bridge and a VRF are masters too, but have no such directory.
    folder = f"{root}/class/net/{name}/bonding"
    mode = sysfs.read(f"{folder}/mode") if name else None
    if name is None or not mode:
        return None
    ports = sysfs.read(f"{folder}/slaves") or ""
    return Bond(name=name, mode=mode.split()[0], ports=tuple(ports.split()))


def lag_problem(bond: Bond, pfs: Iterable[Pf]) -> str | None:
    """Why the card does not share its VFs over a bond; None where it does.

    ``pfs`` are all of the host's.
    """
    if bond.mode not in _SHARED:
        return f"{bond.name} is in mode {bond.mode}, not in one of {', '.join(_SHARED)}"
    if len(bond.ports) < 2:
        return f"{bond.name} has one port only"
    uplinks = {pf.netdev: pf for pf in pfs}
    stranger = next((port for port in bond.ports if port not in uplinks), None)
    if stranger is not None:
        return f"{stranger}, a port of {bond.name}, is no uplink of a PF"
    return _mixed(bond, [uplinks[port] for port in bond.ports])


def _mixed(bond: Bond, pfs: list[Pf]) -> str | None:
    first = pfs[0]
    for pf in pfs:
        if not _is_one_card(first, pf):
            return f"{first.netdev} and {pf.netdev}, ports of {bond.name}, are on two cards"
        if pf.eswitch is not EswitchMode.SWITCHDEV:
            return f"the eswitch of {pf.netdev}, a port of {bond.name}, is in {pf.eswitch} mode"
    return None


def _is_one_card(one: Pf, other: Pf) -> bool:
    """A card has one slot; one in two slots ("socket direct") shows one switch."""
    if one.switch_id is not None and one.switch_id == other.switch_id:
        return True
    slots = {(pf.address.domain, pf.address.bus, pf.address.slot) for pf in (one, other)}
    return len(slots) == 1
