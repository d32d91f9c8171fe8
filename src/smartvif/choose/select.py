"""Which VF a port gets. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from smartvif.host.facts import EswitchMode, Pf, Vf
from smartvif.model.errors import NotFound, Refused
from smartvif.model.pci import PciAddress

_VFIO = "vfio-pci"
_ALLOW_LIST = "[pci] device_spec"


def select(
    pfs: Sequence[Pf],
    taken: Mapping[PciAddress, str],
    *,
    pf: str | None = None,
    vf: PciAddress | None = None,
    allowed: Container[PciAddress] | None = None,
) -> Vf:
    """The VF asked for, or the first free one that the switch can reach.

    ``taken`` says by whom a VF is used; ``pf`` limits the choice to one PF, given by its address
    or its netdev. ``allowed`` are the VFs of the allow-list; None: there is no such list.
    Raises: NotFound (no such PF or VF, none free or allowed), Refused (the VF asked for is not free
    or not allowed).
    """
    among = [each for each in pfs if pf is None or _is_called(each, pf)]
    if not among:
        known = ", ".join(f"{each.address} ({each.netdev or 'no netdev'})" for each in pfs)
        what = "there is no PF with VFs" if pf is None else f"there is no PF '{pf}'"
        raise NotFound(what, where="SmartNICs", hint=f"PFs: {known or 'none'}")
    candidates = [(each, owner) for owner in among for each in owner.vfs]
    if vf is not None:
        return _asked_for(vf, candidates, taken, pf, allowed)
    if allowed is not None and candidates:
        every = len(candidates)
        candidates = [each for each in candidates if each[0].address in allowed]
        if not candidates:
            raise NotFound(
                f"none of {every} VFs is allowed",
                where=_ALLOW_LIST,
                hint="smartvif device-spec --check says why",
            )
    reasons = []
    for candidate, owner in candidates:
        reason = _unfit(candidate, owner, taken)
        if reason is None:
            return candidate
        reasons.append(f"{candidate.address}: {reason}")
    raise NotFound(
        f"no VF is free among {len(candidates)}",
        where="SmartNICs",
        hint="; ".join(reasons[:4]) or "make VFs by writing their number to sriov_numvfs",
    )


def _asked_for(
    vf: PciAddress,
    candidates: list[tuple[Vf, Pf]],
    taken: Mapping[PciAddress, str],
    pf: str | None,
    allowed: Container[PciAddress] | None,
) -> Vf:
    for candidate, owner in candidates:
        if candidate.address == vf:
            if allowed is not None and vf not in allowed:
                raise Refused(
                    f"VF {vf} is not allowed",
                    where=_ALLOW_LIST,
                    hint="smartvif device-spec --check says why",
                )
            reason = _unfit(candidate, owner, taken)
            if reason is not None:
                raise Refused(
                    f"VF {vf} cannot be used: {reason}",
                    where="SmartNICs",
                    hint="smartvif nic list shows what is free",
                )
            return candidate
    what = f"there is no VF {vf}" if pf is None else f"PF '{pf}' has no VF {vf}"
    raise NotFound(what, where="SmartNICs", hint="see: smartvif nic list")


def _is_called(pf: Pf, name: str) -> bool:
    # An address may be written in either case; the name of a netdev may not.
    return name == pf.netdev or name.lower() == str(pf.address)


def _unfit(vf: Vf, pf: Pf, taken: Mapping[PciAddress, str]) -> str | None:
    if vf.address in taken:
        return f"in use by {taken[vf.address]}"
    if pf.eswitch is not EswitchMode.SWITCHDEV:
        return f"the eswitch of {pf.address} is in mode {pf.eswitch}, not switchdev"
    if vf.driver == _VFIO:
        return f"bound to {_VFIO}: something else has passed it to a guest"
    return None
