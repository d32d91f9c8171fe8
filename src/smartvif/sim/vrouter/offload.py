"""What the vRouter tells an offload of, and the offload to the simulated SmartNIC.

The hooks are those of the vRouter's ``struct vr_offload_ops`` (tf-vrouter, include/vr_offloads.h)
that mean something here. One that raises is a miss, never a drop: the vRouter passes the packets on
itself, and does not offer that flow again.
"""

from __future__ import annotations

from typing import Protocol

from smartvif.model.errors import Failed, NotFound, SmartvifError
from smartvif.sim.nic.eswitch import NUMBERS, Counts, Eswitch, Match
from smartvif.sim.vrouter.flows import TrackedFlow
from smartvif.sim.vrouter.vif import VRouterInterface


class FlowOffload(Protocol):
    """What a SmartNIC's driver can do. Every hook may raise SmartvifError."""

    def soft_reset(self) -> None:
        """Forget everything: the vRouter's tables are new."""

    def interface_add(self, vif: VRouterInterface) -> None:
        """A vif has become active."""

    def interface_del(self, vif: VRouterInterface) -> None:
        """A vif is no longer active; its flows were deleted before."""

    def flow_set(self, flow: TrackedFlow) -> None:
        """Pass the flow's packets on, from now on."""

    def flow_del(self, flow: TrackedFlow) -> None:
        """Leave the flow's packets to the vRouter again."""

    def flow_stats(self, flow: TrackedFlow) -> Counts:
        """What was passed on of a flow that is set."""


class OffloadTracker:
    """Offers each flow to an offload once, and records the result in ``TrackedFlow.miss``.

    ``stuck`` are flows that have ended and that the offload failed to delete: it is tried again.
    """

    def __init__(self, offload: FlowOffload) -> None:
        self.stuck: list[TrackedFlow] = []
        self._offload = offload
        # Each active vif, and why no flow of it is offered, if so.
        self._misses: dict[str, str | None] = {}

    def reset(self) -> None:
        """Have it forget what another vRouter has told it. Raises: SmartvifError."""
        self._offload.soft_reset()

    def enter(self, vif: VRouterInterface) -> None:
        """Offer a vif that has become active."""
        try:
            self._offload.interface_add(vif)
            self._misses[vif.id] = None
        except SmartvifError as error:
            self._misses[vif.id] = str(error)

    def leave(self, vif: VRouterInterface) -> None:
        """Take back a vif, after its flows. Raises: SmartvifError."""
        if self._misses.pop(vif.id) is None:
            self._offload.interface_del(vif)

    def make(self, flow: TrackedFlow) -> None:
        """Offer a new flow."""
        flow.miss = self._misses[flow.key.vif] or self._misses[flow.target]
        if flow.miss is None:
            try:
                self._offload.flow_set(flow)
            except SmartvifError as error:
                flow.miss = str(error)

    def end(self, flow: TrackedFlow) -> None:
        """Take back a flow that has ended."""
        if flow.miss is None:
            try:
                self._offload.flow_del(flow)
            except SmartvifError:
                self.stuck.append(flow)

    def end_again(self) -> None:
        """Ask again for the flows that were not given up."""
        again, self.stuck = self.stuck, []
        for flow in again:
            self.end(flow)

    def stats(self, flow: TrackedFlow) -> Counts:
        """What was passed on of a flow that is no miss. Raises: SmartvifError."""
        return self._offload.flow_stats(flow)


class CardOffload:
    """Flows between two VFs of the simulated card. Its eswitch passes on what matches them."""

    def __init__(self, eswitch: Eswitch) -> None:
        self._eswitch = eswitch
        self._representors: dict[str, str] = {}
        # The card has few numbers: each flow that is set has one of them.
        self._numbers: dict[int, int] = {}
        self._free = list(NUMBERS)

    def soft_reset(self) -> None:
        """Flush the card. Raises: Failed."""
        self._eswitch.flush()
        self._representors.clear()
        self._numbers.clear()
        self._free = list(NUMBERS)

    def interface_add(self, vif: VRouterInterface) -> None:
        """Take a vif that is a representor. Raises: NotFound for any other."""
        if vif.netdev not in self._eswitch.representors():
            raise NotFound(f"{vif.netdev} is no representor of the card", where="offload")
        self._representors[vif.id] = vif.netdev

    def interface_del(self, vif: VRouterInterface) -> None:
        """Forget a vif."""
        del self._representors[vif.id]

    def flow_set(self, flow: TrackedFlow) -> None:
        """Put a flow between two of the vifs taken into the card. Raises: Failed."""
        if not self._free:
            raise Failed(f"the card has no number for flow {flow.number}", where="offload")
        _, protocol, src, dst, sport, dport = flow.key
        match = Match(
            source=self._representors[flow.key.vif],
            protocol=protocol,
            src=src,
            dst=dst,
            sport=sport,
            dport=dport,
        )
        self._eswitch.add(self._free[-1], match, self._representors[flow.target])
        self._numbers[flow.number] = self._free.pop()

    def flow_del(self, flow: TrackedFlow) -> None:
        """Take a flow that is set out of the card. Raises: Failed; then it is still set."""
        self._eswitch.delete(self._numbers[flow.number])
        self._free.append(self._numbers.pop(flow.number))

    def flow_stats(self, flow: TrackedFlow) -> Counts:
        """What the card has passed on. Raises: NotFound, Failed."""
        return self._eswitch.counts(self._numbers[flow.number])
