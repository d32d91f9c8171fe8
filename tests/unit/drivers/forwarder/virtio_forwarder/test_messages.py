"""Requests and replies of virtio-forwarder, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.messages import STATS, Service
from smartvif.sim.virtio_forwarder.relays import Relays
from smartvif.sim.virtio_forwarder.services import Services
from tests.support.virtio_forwarder import LONG, PATH, REPLIES, REQUESTS, recording


@pytest.mark.parametrize(("act", "service", "expected"), REQUESTS)
def test_request_bytes(
    act: Callable[[VirtioForwarder], Any],
    service: str,
    expected: str,
    tmp_path: Path,
    relays: Relays,
) -> None:
    """Each request is, byte for byte, what the daemon's protocol says, in one frame after none."""
    relays.add_socket(PATH, ["0000:05:09.0"], None, conditional=True)
    with recording(tmp_path, relays) as seen:
        act(VirtioForwarder(tmp_path, timeout=LONG))
    assert (service, [b"", bytes.fromhex(expected)]) in seen


@pytest.mark.parametrize(("service", "request_", "expected"), REPLIES)
def test_reply_bytes(service: Service, request_: str, expected: str, relays: Relays) -> None:
    """The simulated daemon answers byte for byte as the real one."""
    reply = Services(relays).respond(service, bytes.fromhex(request_))
    assert reply.hex() == expected.replace(" ", "")


def test_relay_bytes(relays: Relays) -> None:
    """A relay's state with a VF and no machine, field by field."""
    relays.add("0000:0A:1F.3", 0, conditional=True)
    relays.all[0].to_vm.packets, relays.all[0].to_vm.bytes = 3, 300
    reply = Services(relays).respond(STATS, bytes.fromhex("0a0100"))
    zeros = "".join(f"{key:02x}00000000" for key in (0x5D, 0x65, 0x6D, 0x75))
    up = (f"0801 120a{b'DPDK_ADDED'.hex()} 1803 20ac02 2803 30ac02 3800 4800 {zeros}").replace(
        " ", ""
    )
    down = f"0800 120d{b'VIRTIO_UNINIT'.hex()} {zeros}".replace(" ", "")
    state = (
        "0800 1000 2202 0801 2a06 0a04 4e4f4e45"
        f" 320e 0a0c {b'0000:0A:1F.3'.hex()}"
        f" 3a{len(up) // 2:02x} {up} 42{len(down) // 2:02x} {down} 4800"
    ).replace(" ", "")
    assert reply.hex() == f"080012{len(state) // 2:02x}{state}"
