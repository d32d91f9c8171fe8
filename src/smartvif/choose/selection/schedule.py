"""The hosts that can run a machine with all its ports, and the best of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smartvif.choose.selection.policy import Policy
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import Selection, select
from smartvif.model import traits


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOffer:
    """A host and its pools; one without a device for the ports has no pools."""

    name: str
    traits: frozenset[str]
    pools: tuple[Pool, ...] = ()

    @property
    def has_smartnic(self) -> bool:
        """Whether it has VFs, free or not."""
        return bool(self.pools) or traits.SMARTNIC in self.traits


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVerdict:
    """The result for one host. ``problem`` is why it is unsuitable; None where it is suitable.

    ``free`` is the share of its devices that would be left, from 0 to 1. ``spared``: no
    SmartNIC of the host would be left idle.
    """

    name: str
    problem: str | None
    selection: Selection | None
    drawbacks: int = 0
    free: float = 0.0
    spared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``verdicts``, the best first; unsuitable hosts are last, by name."""

    verdicts: tuple[HostVerdict, ...]

    @property
    def best(self) -> HostVerdict | None:
        """The best host; None where none is suitable."""
        first = next(iter(self.verdicts), None)
        return first if first is not None and first.problem is None else None


def schedule(
    hosts: Iterable[HostOffer],
    requests: Sequence[DeviceRequest],
    *,
    policy: Policy = Policy.SPREAD,
) -> Decision:
    """Rank all hosts: whether every port gets its device there, and how well it would be used.

    Ports that need no device leave hosts with SmartNICs to those that do. Then hosts without a
    drawback come first, and those that the ``policy`` prefers.
    """
    wanted = tuple(requests)
    needed = frozenset().union(*(request.host_traits for request in wanted))
    verdicts = [_judge(host, wanted, needed, policy) for host in hosts]

    def rank(verdict: HostVerdict) -> tuple[bool, bool, int, float, str]:
        share = verdict.free if policy is Policy.PACK else -verdict.free
        failed = verdict.problem is not None
        return failed, not verdict.spared, verdict.drawbacks, share, verdict.name

    return Decision(verdicts=tuple(sorted(verdicts, key=rank)))


def _judge(
    host: HostOffer, requests: tuple[DeviceRequest, ...], needed: frozenset[str], policy: Policy
) -> HostVerdict:
    if not needed <= host.traits:
        lacking = ", ".join(sorted(needed - host.traits))
        return HostVerdict(name=host.name, problem=f"it lacks {lacking}", selection=None)
    selection = select(host.pools, requests, policy=policy)
    if selection.problem is not None:
        # Placement omits hosts that lack a single device and does not say which one.
        problem = selection.problem if host.pools else "it has no devices that all ports could have"
        return HostVerdict(name=host.name, problem=problem, selection=selection)
    count = len(selection.choices)
    whole = {choice.pool.pf for choice in selection.choices if choice.pool.device is DeviceType.PF}
    total = sum(pool.total for pool in host.pools)
    left = sum(pool.free for pool in host.pools if pool.pf not in whole) - (count - len(whole))
    return HostVerdict(
        name=host.name,
        problem=None,
        selection=selection,
        drawbacks=sum(choice.pool.drawback is not None for choice in selection.choices),
        free=left / total if total else 1.0,
        spared=count > 0 or not host.has_smartnic,
    )
