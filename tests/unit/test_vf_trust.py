"""The step that trusts a VF."""

from __future__ import annotations

from typing import Any, cast

import pytest

from smartvif.drivers.netlink import Links
from smartvif.model.errors import NotFound
from smartvif.plug.step import World
from smartvif.plug.steps.veb import VfTrust


class Trusts:
    """The links of a host with one PF, whose VFs are trusted or not, or do not say."""

    def __init__(self, *, silent: bool = False, **trusts: bool) -> None:
        self.trusts = {int(name[2:]): trusted for name, trusted in trusts.items()}
        self._silent = silent

    def vf_trust(self, pf: str, number: int) -> bool | None:
        self._there(number)
        return None if self._silent else self.trusts[number]

    def set_vf_trust(self, pf: str, number: int, trusted: bool) -> None:
        self._there(number)
        self.trusts[number] = trusted

    def _there(self, number: int) -> None:
        if number not in self.trusts:
            raise NotFound(f"no VF {number}")


STEP = VfTrust(pf="pf0", number=1)


def world(host: Trusts) -> World:
    return World(links=cast(Links, host), ovs=cast(Any, None))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_the_step(before: bool, silent: bool) -> None:
    """The VF is trusted while it is plugged; then as before, and without trust if none can tell."""
    host = Trusts(vf0=False, vf1=before, silent=silent)
    there = world(host)
    found = STEP.find(there)
    for _ in range(2):
        STEP.do(there)
    assert host.trusts == {0: False, 1: True}
    assert STEP.check(there)
    for _ in range(2):
        STEP.undo(there, found)
    assert host.trusts == {0: False, 1: before and not silent}


def test_undoing_what_was_never_done() -> None:
    """A step that the process died before is undone without a trace."""
    host = Trusts(vf1=False)
    STEP.undo(world(host), {"trusted": False})
    assert host.trusts == {1: False}


def test_check_sees_lost_trust() -> None:
    """A VF that lost its trust, or is gone, does not hold."""
    assert not STEP.check(world(Trusts(vf1=False)))
    assert not STEP.check(world(Trusts(vf0=True)))


def test_undoing_without_the_vf() -> None:
    """A VF that has gone has nothing to put back; one that never came cannot be trusted."""
    STEP.undo(world(Trusts()), {"trusted": False})
    with pytest.raises(NotFound):
        STEP.find(world(Trusts()))
