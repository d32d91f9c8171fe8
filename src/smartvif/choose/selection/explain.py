"""Why each device was chosen or not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from smartvif.choose.selection.pool import Choice, Pool, in_detail, names_pf
from smartvif.choose.selection.request import DeviceRequest
from smartvif.choose.selection.select import Rank, Selection, rank
from smartvif.model.errors import NotFound, Refused, SmartvifError
from smartvif.model.pci import PciAddress

_WHERE = "SmartNICs"
_SET_UP = "docs/how-to/smartnic-acceleration.md, The host, has what passthrough needs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device, and why port ``port`` did not get it; None where it did."""

    port: str
    address: PciAddress
    pf: PciAddress
    reason: str | None


def explain(
    selection: Selection, claimed: Mapping[PciAddress, str] | None = None
) -> tuple[Candidate, ...]:
    """Every device considered for each port. ``claimed``: the port that got each device.

    Without claims, the choice shown is the device a request names, else the first of its pool.
    """
    return tuple(_candidates(selection, _owners(selection, claimed or {})))


def _owners(selection: Selection, claimed: Mapping[PciAddress, str]) -> dict[PciAddress, str]:
    """The port that has each device, or would get it."""
    owners = dict(claimed)
    for choice in sorted(selection.choices, key=lambda choice: choice.request.vf is None):
        if choice.request.id in owners.values():
            continue
        named = choice.request.vf
        wanted = choice.pool.functions if named is None else (named,)
        address = next((each for each in wanted if each not in owners), None)
        if address is not None:
            owners[address] = choice.request.id
    return owners


def _candidates(selection: Selection, owners: Mapping[PciAddress, str]) -> Iterator[Candidate]:
    choices = {choice.request.id: choice for choice in selection.choices}
    devices = {owner: address for address, owner in owners.items()}
    for request, reasons in zip(selection.requests, selection.reasons, strict=True):
        for pool, reason in zip(selection.pools, reasons, strict=True):
            for address in sorted({*pool.functions, *pool.unavailable}):
                owner = owners.get(address)
                why = pool.unavailable.get(address)
                if owner == request.id:
                    why = None
                elif owner is not None:
                    why = f"port {owner} of the same machine gets it"
                elif why is None and request.vf not in (None, address):
                    why = f"it is not {request.vf}"
                elif why is None:
                    choice, got = choices.get(request.id), devices.get(request.id)
                    why = (
                        _comparison(pool, choice, got, selection)
                        if reason is None
                        else in_detail(pool, request, address, reason)
                    )
                yield Candidate(port=request.id, address=address, pf=pool.pf, reason=why)


def _comparison(
    pool: Pool, choice: Choice | None, got: PciAddress | None, selection: Selection
) -> str:
    """Why another device was preferred to one that matches."""
    if choice is None:
        return f"it is suitable, but {selection.problem}"
    chosen = choice.pool
    others = [each.pool for each in selection.choices if each is not choice]

    def ranked(each: Pool) -> Rank:
        return rank(each, others.count(each), selection.policy, selection.guest)

    def in_use(each: Pool) -> str:
        return f"{each.total - each.free + others.count(each)} of {each.total}"

    best, this = ranked(chosen), ranked(pool)
    if this < best:
        return f"it is suitable, but for the machine's ports together {got} is chosen"
    if best.has_drawback != this.has_drawback:
        return f"it is suitable, but {pool.drawback}"
    if best.is_far != this.is_far:
        nodes = ", ".join(map(str, sorted(selection.guest.nodes)))
        return f"it is suitable, but it is on NUMA node {pool.numa_node}, and the guest on {nodes}"
    if best.share == this.share:
        return f"it is suitable, and {got} has a lower address"
    return (
        f"it is suitable, but {selection.policy} prefers {chosen.pf}:"
        f" {in_use(chosen)} in use there, {in_use(pool)} here"
    )


def refusal(selection: Selection, request: DeviceRequest) -> SmartvifError:
    """The error to raise where nothing could be chosen for ``request``, with the reasons.

    NotFound: the PF or VF does not exist, or no device matches. Refused: the VF asked for exists
    and cannot be used.
    """
    pools = selection.pools
    if request.pf is not None:
        pools = tuple(pool for pool in pools if names_pf(pool, request.pf))
    if not pools:
        what = "with VFs" if request.pf is None else f"'{request.pf}'"
        hint = f"PFs: {_names(selection.pools)}"
        return NotFound(f"there is no PF {what}", where=_WHERE, hint=hint)
    candidates = {each.address: each for each in explain(selection) if each.port == request.id}
    if request.vf is None:
        alike = [pool for pool in pools if pool.device is request.device]
        mine = sorted(address for pool in alike for address in (*pool.functions, *pool.unavailable))
        return _none_of([candidates[address] for address in mine], request)
    named = candidates.get(request.vf)
    if named is None or named.pf not in {pool.pf for pool in pools}:
        missing = f"VF {request.vf}"
        what = f"PF '{request.pf}' has no {missing}" if request.pf else f"there is no {missing}"
        return NotFound(what, where=_WHERE, hint="see: smartvif nic list")
    passthrough = any(pool.no_passthrough.get(request.vf) == named.reason for pool in pools)
    return Refused(
        f"VF {request.vf} cannot be used: {named.reason}",
        where=_WHERE,
        hint=_SET_UP if passthrough else "smartvif nic list shows what is free",
    )


def _none_of(candidates: Sequence[Candidate], request: DeviceRequest) -> SmartvifError:
    reasons: dict[str, list[str]] = {}
    for each in candidates:
        reasons.setdefault(each.reason or "", []).append(str(each.address))
    words = (
        f"{found[0]}{f' and {len(found) - 1} more' if found[1:] else ''}: {reason}"
        for reason, found in reasons.items()
    )
    return NotFound(
        f"none of {len(candidates)} {request.device}s is suitable",
        where=_WHERE,
        hint="; ".join(words) or "make VFs by writing their number to sriov_numvfs",
    )


def _names(pools: Sequence[Pool]) -> str:
    names = dict.fromkeys(f"{pool.pf} ({pool.netdev or 'no netdev'})" for pool in pools)
    return ", ".join(names) or "none"
