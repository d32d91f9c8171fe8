"""Packets from a guest's end of a relay and of a tap, to where they come out: side by side."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from bench.forwarder.virtio_guest import Sender
from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.forwarder.ovs_dpdk import OvsDpdkEngine
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.sim.host import BRIDGE, FORWARDER_NETNS, SOCKETS, forwarder_switch, host_switch
from smartvif.sim.nic.nic import mac, representor, vf_netdev

_SINK = 7  # the VF where packets come out of the switch
_TAP = "tapbench"
_GUEST = "52:54:00:00:00:01"
_CHECKSUM = 4
_PATIENCE = 20.0  # seconds
_PACES = (50e3, 100e3, 200e3, 400e3)  # packets per second
_BURST = 32  # packets that a paced sender writes at once
# include/uapi/linux/if_tun.h
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x2, 0x1000


class Send(Protocol):
    """A sender: for so many seconds, at a pace in packets per second or as fast as can be."""

    def __call__(self, seconds: float, pace: float | None = None, /) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One path with frames of one size in bytes, with the checksum that a wire would add."""

    path: str
    size: int
    packets_per_second: float

    @property
    def gbits(self) -> float:
        """Of frames, in Gbit/s."""
        return self.packets_per_second * self.size * 8 / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Frames of one size, for so many seconds, so many times."""

    size: int
    seconds: float
    rounds: int


def measure(sizes: tuple[int, ...], seconds: float, rounds: int) -> Iterator[Result]:
    """Every path with every size."""
    links = Links()
    switch = OpenVSwitch(Ovsdb(host_switch().address))
    sink = vf_netdev(0, _SINK)
    for netdev in (sink, representor(0, _SINK), representor(0, 0)):
        links.set_up(netdev, mtu=1600)
    switch.add_port(OvsPortSpec(bridge=BRIDGE, name=representor(0, _SINK), owner="bench"))
    for size in sizes:
        frame = _frame(mac(sink), size)
        run = Run(size=size, seconds=seconds, rounds=rounds)
        with _relay(frame, links) as send:
            inner = representor(0, 0)
            yield _median("relay alone", send, inner, run)
            with _in_switch(inner, sink, switch):
                yield _best("relay and switch", send, sink, run)
        with _tap(frame, links) as send:
            yield _median("tap alone", send, _TAP, run)
            with _in_switch(_TAP, sink, switch):
                yield _best("tap and switch", send, sink, run)


def _median(path: str, send: Send, netdev: str, run: Run) -> Result:
    """What arrives at a netdev that takes everything, sent as fast as can be."""
    rates = sorted(_rate(send, netdev, run, None) for _ in range(run.rounds))
    return Result(path=path, size=run.size, packets_per_second=rates[len(rates) // 2])


def _best(path: str, send: Send, netdev: str, run: Run) -> Result:
    """The most that arrives behind the switch, at any of several paces.

    Neither path holds a sender back when the switch is busy, and to send what it drops takes the
    processor time that it lacks.
    """
    rates = [_rate(send, netdev, run, pace) for pace in _PACES for _ in range(run.rounds)]
    return Result(path=path, size=run.size, packets_per_second=max(rates))


def _rate(send: Send, netdev: str, run: Run, pace: float | None) -> float:
    send(0.2, pace)  # so that flows and caches are there
    before, start = _received(netdev), time.monotonic()
    send(run.seconds, pace)
    return (_received(netdev) - before) / (time.monotonic() - start)


@contextmanager
def _relay(frame: bytes, links: Links) -> Iterator[Send]:
    """A relay as smartvif makes it, with a guest's end that sends."""
    engine = OvsDpdkEngine(OpenVSwitch(Ovsdb(forwarder_switch(2).address)), netns=FORWARDER_NETNS)
    port = str(uuid.uuid4())
    socket_path = SOCKETS / f"{port}.sock"
    spec = RelaySpec(port_id=port, socket=str(socket_path), mtu=1500, netdev=vf_netdev(0, 0))
    sender = Sender(socket_path, frame)
    try:
        engine.add(spec, links)
        sender.accept()
        end = time.monotonic() + _PATIENCE
        while (state := engine.state(port)) is None or not state.link_up:
            if time.monotonic() > end:
                raise RuntimeError("the relay does not see its guest")
            time.sleep(0.05)
        yield sender.send
    finally:
        sender.close()
        engine.remove(spec)


@contextmanager
def _tap(frame: bytes, links: Links) -> Iterator[Send]:
    """A tap, into which packets are written one by one, as QEMU does."""
    with Path("/dev/net/tun").open("r+b", buffering=0) as file:
        request = struct.pack("16sH22x", _TAP.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(file, _TUNSETIFF, request)
        links.set_up(_TAP, mtu=1500)
        yield partial(_write, file.fileno(), frame)
    links.delete(_TAP)


def _write(descriptor: int, frame: bytes, seconds: float, pace: float | None = None) -> None:
    sent, start = 0, time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        if pace is not None and sent > passed * pace:
            time.sleep(50e-6)
            continue
        for _ in range(_BURST):
            os.write(descriptor, frame)
        sent += _BURST


@contextmanager
def _in_switch(netdev: str, sink: str, switch: OpenVSwitch) -> Iterator[None]:
    """The netdev in the bridge, which knows where the sink is."""
    switch.add_port(OvsPortSpec(bridge=BRIDGE, name=netdev, owner="bench"))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((sink, 0))
        out.send(_address("ff:ff:ff:ff:ff:ff") + _address(mac(sink)) + bytes(48))
    try:
        yield
    finally:
        switch.remove_port(netdev, "bench")


def _frame(target: str, size: int) -> bytes:
    """A UDP packet whose frame has ``size`` bytes with the checksum, which is not written here."""
    length = size - _CHECKSUM
    data = bytes(length - 42)
    udp = struct.pack("!HHHH", 9, 9, 8 + len(data), 0)
    source, destination = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")
    total = 20 + len(udp) + len(data)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 17, 0, source, destination)
    words = sum(struct.unpack("!10H", header))
    checksum = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    header = header[:10] + struct.pack("!H", checksum) + header[12:]
    return _address(target) + _address(_GUEST) + b"\x08\x00" + header + udp + data


def _address(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _received(netdev: str) -> int:
    """The packets that a link of this namespace has received (proc(5), /proc/net/dev)."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == netdev:
            return int(counters.split()[1])
    raise RuntimeError(f"there is no link {netdev}")
