"""The vRouter's forwarding, in one thread: frames, and what of them a card may pass on itself.

A network is closed: what comes in by one of its vifs goes out by others of the same network, or by
its tunnel to other hosts, or nowhere. What came in by a tunnel never leaves by one. Frames have no
VLAN tag; one that has is dropped.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from functools import partial

from smartvif.sim.vrouter import tunnel
from smartvif.sim.vrouter.flows import FlowTable, parse
from smartvif.sim.vrouter.hold import HostFilter
from smartvif.sim.vrouter.loop import Loop
from smartvif.sim.vrouter.messages import AgentPortMessage
from smartvif.sim.vrouter.offload import FlowOffload, OffloadTracker
from smartvif.sim.vrouter.tunnel import Tunnels
from smartvif.sim.vrouter.vif import HEADER, PacketSocket, VRouterInterface
from smartvif.sim.vrouter.vifs import Vifs, VRouterNetwork

_LINK_EVENTS = 1  # RTMGRP_LINK, include/uapi/linux/rtnetlink.h
_AT_ONCE = 64  # frames of one vif before the others have their turn
_NOT_THERE = frozenset({errno.ENETDOWN, errno.ENODEV, errno.ENXIO})


class Datapath:
    """The forwarder. It hears of ports from the agent, and of netdevs from the kernel.

    ``forwarded`` and ``flooded`` count the frames that it passed on itself, to one vif or to all
    others; ``dropped`` counts by reason.
    """

    def __init__(
        self, loop: Loop, offload: FlowOffload, hold: HostFilter, tunnels: Tunnels | None = None
    ) -> None:
        self.vifs = Vifs(tunnels, hold, entered=self._entered, left=self._left)
        self.offers = OffloadTracker(offload)
        self.flows = FlowTable(made=self.offers.make, ended=self.offers.end)
        self.forwarded = 0
        self.flooded = 0
        self.dropped: Counter[str] = Counter()
        self._loop = loop
        self._events = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )

    def start(self) -> None:
        """Delete the tunnels and flows that an ended vRouter left, and follow the kernel's links.

        Raises: SmartvifError, where it cannot be cleared: stale flows would forward packets.
        """
        self.offers.reset()
        tunnel.flush()
        self._events.bind((0, _LINK_EVENTS))
        self._loop.watch(self._events, self._links_changed)

    def port_added(self, port: AgentPortMessage) -> None:
        """Take a port, from any thread."""
        self._loop.call(partial(self.vifs.add, port))

    def port_deleted(self, port: AgentPortMessage) -> None:
        """Drop a port, from any thread."""
        self._loop.call(partial(self.vifs.delete, port.id))

    def tick(self) -> None:
        """Periodic work: try again to end flows that the card did not delete."""
        self.offers.end_again()

    def count_missed(self) -> None:
        """Count what the kernel has dropped before us: its counter has to be polled."""
        for vif in self.vifs:
            if vif.socket is not None:
                self._count_missed(vif.socket)

    def _count_missed(self, source: PacketSocket) -> None:
        missed = source.missed()
        if missed:
            self.dropped["queue full"] += missed

    def _links_changed(self) -> None:
        """Drain the events and read all links again: some events may be lost."""
        try:
            while self._events.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        self.vifs.settle()

    def _entered(self, vif: VRouterInterface) -> None:
        assert vif.socket is not None
        self._loop.watch(vif.socket, partial(self._receive, vif))
        self.offers.enter(vif)

    def _left(self, vif: VRouterInterface) -> None:
        assert vif.socket is not None
        self._loop.unwatch(vif.socket)
        self._count_missed(vif.socket)
        self.flows.end_vif(vif.id)
        self.offers.leave(vif)

    def _receive(self, vif: VRouterInterface) -> None:
        for _ in range(_AT_ONCE):
            # One of the events that came with this one may have ended the vif.
            if vif.socket is None:
                return
            try:
                frame = vif.socket.receive()
            except OSError as error:
                # A netdev that is gone is also in the link events; any other error is a frame
                # that its header cannot describe.
                if error.errno not in _NOT_THERE:
                    self._drop(error)
                continue
            if frame is None:
                return
            vif.received += 1
            if isinstance(frame, str):
                self.dropped[frame] += 1
            else:
                self._forward(vif, frame)

    def _forward(self, source: VRouterInterface, frame: memoryview) -> None:
        network = self.vifs.network(source)
        mac, origin = bytes(frame[HEADER : HEADER + 6]), bytes(frame[HEADER + 6 : HEADER + 12])
        if network.bridge.learn(origin, source):
            self.flows.end_address(origin, frozenset(vif.id for vif in network.vifs()))
        target = None if mac[0] & 1 else network.bridge.find(mac)
        if target is source:
            self.dropped["destination behind the source interface"] += 1
        elif target is None:
            self._flood(source, network, frame)
        elif self._send(target, frame):
            self.forwarded += 1
            key = parse(source.id, frame[HEADER:])
            if key is not None:
                self.flows.count(key, target.id, mac, len(frame) - HEADER)

    def _flood(self, source: VRouterInterface, network: VRouterNetwork, frame: memoryview) -> None:
        targets = [vif for vif in network.vifs() if vif is not source and vif.socket is not None]
        if targets:
            self.flooded += 1
        else:
            self.dropped["no other interface in the network"] += 1
        for target in targets:
            self._send(target, frame)

    def _send(self, target: VRouterInterface, frame: memoryview) -> bool:
        """Send a frame out of a vif; whether it went. What the kernel refuses is dropped."""
        assert target.socket is not None
        try:
            target.socket.send(frame)
        except OSError as error:
            self._drop(error)
            return False
        target.sent += 1
        return True

    def _drop(self, error: OSError) -> None:
        self.dropped[errno.errorcode.get(error.errno or 0, str(error))] += 1
