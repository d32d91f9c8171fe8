"""Move a running machine with its ports to another host, or leave it as it is.

The other host plugs the ports first, so that they work when the machine comes; only then does it
move. Until it has moved everything can be undone, and is when a step fails. After that there is no
way back and none is needed: what is left to do is to tidy up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from smartvif.chain.attach import attach
from smartvif.chain.host import Host
from smartvif.chain.offer import Offer
from smartvif.chain.peer import Peer
from smartvif.model.errors import Failed, NotFound, Refused, SmartvifError
from smartvif.plug.apply import unplug

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOutlook:
    """What will become of a port. ``problem`` is what keeps it from moving."""

    id: str
    mode: str
    transparent: bool
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Whether a machine can move. ``problem`` is the machine's own."""

    vm: str
    problem: str | None
    ports: tuple[PortOutlook, ...]
    address: str | None

    @property
    def ready(self) -> bool:
        """Whether nothing is in the way."""
        return self.problem is None and all(port.problem is None for port in self.ports)


def outlook(vm: str, host: Host, peer: Peer) -> Outlook:
    """Look at everything that can be in the way; nothing is changed.

    Raises: NotFound, for a machine that is not here; Failed and CannotTell, where the other host,
    libvirt or a switch does not answer.
    """
    offer = _offer(vm, host)
    there = peer.examine(offer)
    problem = there["problem"] and f"{peer.name}: {there['problem']}"
    if not host.domains.running(vm):
        problem = "it does not run: define it there, and attach its ports"
    return Outlook(
        vm=vm,
        problem=problem,
        ports=tuple(
            PortOutlook(
                id=port.id,
                mode=port.mode,
                transparent=port.transparent,
                problem=there["ports"][port.id],
            )
            for port in offer.ports
        ),
        address=there["address"],
    )


def migrate(vm: str, host: Host, peer: Peer, tell: Callable[[str], None]) -> dict[str, str]:
    """Move the machine; ``tell`` hears of each step.

    Returns the ports that moved but could not be attached there, each with the reason.
    Raises: Refused, with what is in the way, before anything is changed; Failed and CannotTell
    after what was done has been undone, with the machine running here as before.
    """
    found = outlook(vm, host, peer)
    if not found.ready:
        reasons = [found.problem, *(port.problem for port in found.ports)]
        raise Refused(
            "; ".join(reason for reason in reasons if reason),
            where=f"virtual machine {vm}",
            hint=f"smartvif migrate --vm {vm} --to {peer.name} --check tells it port by port",
        )
    offer = _offer(vm, host)
    detached: list[str] = []
    prepared = False
    try:
        for port in offer.ports:
            if not port.transparent:
                detached.append(port.id)
                unplug(port.id, host.journal, host.world)
                tell(f"{port.mode} port {port.id[:8]} is detached: the guest has no link on it")
        prepared = True
        interfaces = peer.prepare(offer)
        tell(f"{peer.name} has the ports")
        by_mac = {port.mac: interfaces[port.id] for port in offer.ports if port.transparent}
        host.domains.migrate(vm, peer.libvirt, by_mac, address=found.address)
    except BaseException:
        _stay(offer, detached, host, peer if prepared else None)
        raise
    tell(f"{vm} runs on {peer.name}")
    failed = peer.finish(offer, interfaces)
    tell(f"{peer.name} has taken over")
    for port in offer.ports:
        if port.transparent:
            unplug(port.id, host.journal, host.world)
    tell("nothing of it is left here")
    return failed


def _offer(vm: str, host: Host) -> Offer:
    records = [record for record in host.journal.ports() if record.facts["vm"] == vm]
    return Offer.of(vm, host.domains.uuid(vm), records)


def _stay(offer: Offer, detached: list[str], host: Host, peer: Peer | None) -> None:
    """Undo what was done for a machine that does not move; what cannot be undone is told."""
    if peer is not None:
        try:
            peer.abandon(offer)
        except (Failed, SmartvifError) as error:
            _log.error("%s may still have its ports: %s", peer.name, error)
    for port in offer.ports:
        if port.id in detached:
            try:
                if host.journal.port(port.id) is None:
                    attach(port.request(offer.vm), host)
            except (NotFound, SmartvifError) as error:
                _log.error("%s port %s is not attached again: %s", port.mode, port.id, error)
