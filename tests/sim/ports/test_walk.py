"""How attach goes through the rooms: what it reads of the host, and how often it goes back up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any
from unittest import mock

import pytest

import smartvif
from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.guest.connection import Connection
from smartvif.model.choices import Mode
from smartvif.model.errors import NotFound
from smartvif.model.port_spec import PortSpec
from smartvif.operations.ports.attach import attach
from smartvif.sim.host import BRIDGE, OPENVSWITCH
from smartvif.sim.testing import on_simulated_host

_PACKAGE = f"{smartvif.__name__}."
_DATABASE = f"unix:{OPENVSWITCH}/db.sock"
# From top to bottom, as tests/unit/test_layers.py has it, without those that only hold values.
_ROOMS = ("operations", "switches", "plug", "guest", "choose", "control", "drivers", "host")
# Each line goes down; docs/architecture.md says what is done there.
_NORMAL = [
    *("switches", "plug", "guest"),
    *("switches", "plug"),
    *("switches", "plug"),
]
_WITH_VF = [
    *("switches", "plug", "guest", "drivers", "host"),
    *("choose",),
    *("plug",),
    *("switches", "plug", "choose"),
]
_WALKS = {
    Mode.NORMAL: _NORMAL,
    Mode.DIRECT: ["switches", "plug", "guest", "host", *_WITH_VF],
    Mode.VIRTIO_FORWARDER: ["switches", "plug", "guest", "drivers", "host", *_WITH_VF],
}


def _room(frame: FrameType) -> str | None:
    """The room of a function of ours; making a value is no visit."""
    name = frame.f_globals.get("__name__", "")
    room = name.removeprefix(_PACKAGE).split(".")[0]
    ours = name.startswith(_PACKAGE) and not frame.f_code.co_filename.startswith("<")
    return room if ours and room in _ROOMS else None


def _caller(frame: FrameType) -> str | None:
    """The room of the function of ours that has called, also by way of others' functions."""
    back = frame.f_back
    while back is not None and not back.f_globals.get("__name__", "").startswith(_PACKAGE):
        back = back.f_back
    return None if back is None else _room(back)


@contextmanager
def _rooms_entered() -> Iterator[list[str]]:
    """The rooms that operations call into, one for calls in a row."""
    entered: list[str] = []
    seen: set[FrameType] = set()

    def hear(frame: FrameType, event: str, _: object) -> None:
        room = _room(frame) if event == "call" and frame not in seen else None
        if room in (None, "operations") or _caller(frame) != "operations":
            return
        seen.add(frame)  # a generator that goes on has been entered before
        if entered[-1:] != [room]:
            entered.append(room)

    sys.setprofile(hear)
    try:
        yield entered
    finally:
        sys.setprofile(None)


@contextmanager
def _requests() -> Iterator[list[str]]:
    """What libvirt and Open vSwitch are asked, in order: listings, readings and changes."""
    heard: list[str] = []
    domains, transact, commit = Connection.domains, Ovsdb.transact, Ovsdb.commit

    def hear_domains(self: Connection) -> Any:
        heard.append("list machines")
        return domains(self)

    def hear_transact(self: Ovsdb, *values: Any) -> Any:
        heard.extend(["read"] * (self.address == _DATABASE))
        return transact(self, *values)

    def hear_commit(self: Ovsdb, *values: Any) -> Any:
        heard.extend(["change"] * (self.address == _DATABASE))
        return commit(self, *values)

    with (
        mock.patch.object(Connection, "domains", hear_domains),
        mock.patch.object(Ovsdb, "transact", hear_transact),
        mock.patch.object(Ovsdb, "commit", hear_commit),
    ):
        yield heard


@on_simulated_host(guests=3)
def test_attach_goes_down_and_asks_once() -> None:
    """At most four times it goes back up; before it acts it reads OVSDB once.

    The machines are listed once, and only for the VFs that they have.
    """
    for number, (mode, walk) in enumerate(_WALKS.items(), start=1):
        mac = f"52:54:00:00:00:{number:02x}"
        spec = PortSpec(vm=f"vm{number}", mode=mode, bridge=BRIDGE, mac=mac)
        host = HostContext(settings.load())
        with _requests() as requests, _rooms_entered() as entered:
            attach(spec, host)
        assert entered == walk
        heights = map(_ROOMS.index, entered)
        assert sum(upper < lower for lower, upper in pairwise(heights)) <= 4
        listed = ["list machines"] if mode.needs_vf else []
        assert requests == ["read", *listed, "change", "read"]  # the last: the port's ofport


@on_simulated_host("1x2", guests=1)
def test_one_request_says_what_two_do() -> None:
    """A bridge and the netdevs of all bridges are the same read together as read apart."""
    host = HostContext(settings.load())
    attach(PortSpec(vm="vm1", mode=Mode.DIRECT, bridge=BRIDGE), host)
    switch = host.drivers.need(OpenVSwitch)
    assert len(switch.netdevs()) > 1
    assert switch.bridge_and_netdevs(BRIDGE) == (switch.bridge(BRIDGE), switch.netdevs())
    with pytest.raises(NotFound) as apart:
        switch.bridge("br-none")
    with pytest.raises(NotFound) as together:
        switch.bridge_and_netdevs("br-none")
    assert (str(together.value), together.value.hint) == (str(apart.value), apart.value.hint)
