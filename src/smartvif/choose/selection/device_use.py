"""Whether a function can be given to a port, and why not: of everything, the one answer. Pure.

It is Absent where nothing stands against it, Present with the reason, or Unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from smartvif.choose.allow_list.match import Rules
from smartvif.host.function_driver import elsewhere, pf_problem
from smartvif.host.sriov import Pf, Vf
from smartvif.model.known import Absent, Known, Present, Unknown
from smartvif.model.pci import PciAddress

_NOT_ALLOWED = "[pci] device_spec does not allow it: smartvif device-spec --check says why"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUsers:
    """Who was seen to use the functions of a host.

    ``named`` are ports, machines and bridges. ``uplinks`` are the users of PFs that leave the VFs
    to others. ``vfio`` are the processes that have a function open. ``vdpa`` are the functions with
    a vDPA device, which need no netdev.
    """

    named: Mapping[PciAddress, str] = field(default_factory=dict)
    uplinks: Mapping[PciAddress, str] = field(default_factory=dict)
    vfio: Mapping[PciAddress, Known[str]] = field(default_factory=dict)
    vdpa: frozenset[PciAddress] = frozenset()

    def user(self, function: PciAddress) -> str | None:
        """Who has the function itself, where that was seen."""
        opened = self.vfio.get(function, Absent())
        seen = opened.value if isinstance(opened, Present) else None
        return self.named.get(function, seen)


def obstacles(
    pfs: Sequence[Pf], users: DeviceUsers, rules: Rules | None
) -> dict[PciAddress, Known[str]]:
    """What stands against giving each VF of these PFs to a port."""
    return {
        vf.address: vf_obstacle(
            vf, pf, users, allowed=rules is None or rules.tags(vf.address) is not None
        )
        for pf in pfs
        for vf in pf.vfs
    }


def vf_obstacle(vf: Vf, pf: Pf, users: DeviceUsers, *, allowed: bool) -> Known[str]:
    """What stands against giving a VF to a port."""
    why = _used(vf, users)
    if why is None and users.named.get(pf.address) is not None:
        why = f"its PF is in use by {users.named[pf.address]}"
    problem = pf_problem(pf.address, pf.driver, pf.netdev)
    if why is None and problem is not None:
        why = problem.what
    why = why or _elsewhere(vf, users) or (None if allowed else _NOT_ALLOWED)
    return _known(vf, why, users)


def pf_obstacle(pf: Pf, users: DeviceUsers) -> Known[str]:
    """What stands against giving a PF as a whole to a port that its entry allows it to."""
    why = _used(pf, users) or _elsewhere(pf, users)
    if why is None and pf.address in users.uplinks:
        why = f"in use by {users.uplinks[pf.address]}"
    for vf in pf.vfs if why is None else ():
        user, other = users.user(vf.address), _elsewhere(vf, users)
        if user is not None:
            why = f"its VF {vf.address} is in use by {user}"
        elif other is not None:
            why = f"of its VF {vf.address}: {other}"
        if why is not None:
            break
    return _known(pf, why, users)


def in_words(obstacle: Known[str]) -> str | None:
    """Why a function is not given to a port; None where it is. What is unknown is not given."""
    match obstacle:
        case Present(why):
            return why
        case Unknown(what):
            return f"unknown whether it is in use: {what}"
    return None


def _used(function: Pf | Vf, users: DeviceUsers) -> str | None:
    user = users.user(function.address)
    return None if user is None else f"in use by {user}"


def _elsewhere(function: Pf | Vf, users: DeviceUsers) -> str | None:
    return None if function.address in users.vdpa else elsewhere(function)


def _known(function: Pf | Vf, why: str | None, users: DeviceUsers) -> Known[str]:
    opened = users.vfio.get(function.address, Absent())
    if why is not None:
        return Present(why)
    return opened if isinstance(opened, Unknown) else Absent()
