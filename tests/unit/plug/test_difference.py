"""The difference of two plans: it leads from one to the other, and undoes nothing needlessly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.drivers.vrouter.port import VRouterPort
from smartvif.host.vf_info import VfAdmin
from smartvif.model.pci import PciAddress
from smartvif.plug.difference import difference
from smartvif.plug.steps.links import HybridBridge, LinkUp, Tap
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings
from smartvif.plug.steps.step import Changeable, Plan, Step
from smartvif.plug.steps.vf import VfAdminSettings, VfioBinding
from smartvif.plug.steps.vrouter import AgentPort

MAC = "52:54:00:12:34:56"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """A step that can only be undone."""

    KIND: ClassVar[str] = "Fixed"

    name: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial(Fixed):
    """A step that can be changed in place, in two stages where its value grows."""

    KIND: ClassVar[str] = "Dial"

    def change_to(self, new: Any) -> tuple[Any, ...]:
        if not isinstance(new, Dial) or new.name != self.name:
            return ()
        return (replace(new, value=0), new) if new.value > self.value else (new,)


PLANS: st.SearchStrategy[Any] = st.lists(
    st.builds(Fixed, name=st.sampled_from("ab"), value=st.integers(0, 1))
    | st.builds(Dial, name=st.sampled_from("cde"), value=st.integers(0, 2)),
    max_size=6,
    unique_by=lambda step: step.name,
).map(tuple)


@given(PLANS, PLANS)
def test_it_leads_from_the_old_plan_to_the_new(old: Plan, new: Plan) -> None:
    """Undone, changed and done as it says, the old steps are the new plan, in its order."""
    found = difference(old, new)
    left = {place: step for place, step in enumerate(old) if place not in found.undo}
    made = []
    for each in found.steps:
        step = None if each.old is None else left.pop(each.old)
        for stage in each.stages:
            step = stage
        assert step == each.step
        made.append(step)
    assert tuple(made) == new
    assert left == {}


@given(PLANS, PLANS)
def test_nothing_is_undone_that_could_stay(old: Plan, new: Plan) -> None:
    """What is undone, in reverse, is in the new plan neither as it is nor with other values."""
    found = difference(old, new)
    undone: list[Any] = [old[place] for place in found.undo]
    assert not {*undone} & {*new}
    kept = {step.name for step in new if isinstance(step, Dial)}
    assert not kept & {step.name for step in undone}
    assert list(found.undo) == sorted(found.undo, reverse=True)
    assert found.is_none == (old == new)


SWITCH_PORT = SwitchPort(
    spec=OvsPortSpec(bridge="br", name="p0r0", owner="p", external_ids={"vm-uuid": "a"}, tag=5),
    mtu=1450,
)
RELAY = ForwarderRelay(spec=RelaySpec(port_id="p", socket="/run/s", mtu=1450, netdev="p0v0"))
ADMIN = VfAdminSettings(pf="p0", number=1, wanted=VfAdmin(mac=MAC))
AGENT = AgentPort(
    port=VRouterPort(id="p", machine="m", network="n", name="vm", mac=MAC, netdev="tap0")
)


def spec(**values: Any) -> SwitchPort:
    return replace(SWITCH_PORT, spec=replace(SWITCH_PORT.spec, **values))


def relay(**values: Any) -> ForwarderRelay:
    return replace(RELAY, spec=replace(RELAY.spec, **values))


def admin(**values: Any) -> VfAdminSettings:
    return replace(ADMIN, wanted=replace(ADMIN.wanted, **values))


CHANGES: dict[str, tuple[Step, Step]] = {
    "a tap's address": (Tap(name="t", mac=MAC), Tap(name="t", mac="52:54:00:00:00:01")),
    "a link's MTU": (LinkUp(name="l", mtu=1450), LinkUp(name="l", mtu=1400)),
    "a bridge's MTU": (
        HybridBridge(bridge="b", inner="i", outer="o", mtu=1450),
        HybridBridge(bridge="b", inner="i", outer="o", mtu=1400),
    ),
    "a port's MTU": (SWITCH_PORT, replace(SWITCH_PORT, mtu=1400)),
    "a port's VLAN": (SWITCH_PORT, spec(tag=6)),
    "a port's identifiers": (SWITCH_PORT, spec(external_ids={"iface-id": "b"})),
    "what a port asks for": (SWITCH_PORT, spec(mtu_request=1400, awaited=True)),
    "a simulated VF's MTU": (
        SimulatedVfSettings(netdev="v", mac=MAC, mtu=1450),
        SimulatedVfSettings(netdev="v", mac=MAC, mtu=1400),
    ),
    "a passthrough's MTU": (
        SimulatedPassthrough(netdev="v", tap="t", mtu=1450),
        SimulatedPassthrough(netdev="v", tap="t", mtu=1400),
    ),
    "a VF's VLAN": (ADMIN, admin(vlan=5, qos=3)),
    "a VF's trust": (ADMIN, admin(trusted=True)),
    "a relay's MTU": (RELAY, relay(mtu=1400)),
    "a relay's queues": (RELAY, relay(queues=2)),
    "an agent's port": (AGENT, replace(AGENT, port=replace(AGENT.port, ip="10.0.0.9"))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_value_that_is_changed_in_place(name: str) -> None:
    """The step becomes the other in one stage, in both directions."""
    one, other = CHANGES[name]
    for old, new in ((one, other), (other, one)):
        assert isinstance(old, Changeable)
        if name != "a VF's trust" or new != ADMIN:
            assert old.change_to(new) == (new,)
        assert difference((old,), (new,)).undo == ()


OTHERS: dict[str, tuple[Step, Step]] = {
    "another tap": (Tap(name="t", mac=MAC), Tap(name="u", mac=MAC)),
    "another number of queues": (
        Tap(name="t", mac=MAC),
        Tap(name="t", mac=MAC, multi_queue=True),
    ),
    "another bridge": (SWITCH_PORT, spec(bridge="br2")),
    "another type": (SWITCH_PORT, spec(type="dpdkvhostuser")),
    "another socket of the switch": (SWITCH_PORT, spec(options={"vhost-server-path": "/run/t"})),
    "another VF": (RELAY, relay(netdev="p0v1")),
    "another socket": (RELAY, relay(socket="/run/t")),
    "another number": (ADMIN, replace(ADMIN, number=2)),
    "another binding": (
        VfioBinding(vf=PciAddress.parse("0000:04:00.0")),
        VfioBinding(vf=PciAddress.parse("0000:04:00.1")),
    ),
    "another persistence": (AGENT, replace(AGENT, persist=False)),
    "another kind": (LinkUp(name="l", mtu=1450), Tap(name="l", mac=MAC)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_each_value_that_is_not(name: str) -> None:
    """Another object, or what cannot be changed in use, is undone and done."""
    one, other = OTHERS[name]
    for old, new in ((one, other), (other, one)):
        found = difference((old,), (new,))
        assert found.undo == (0,)
        assert found.steps[0].stages == (new,)


def test_what_was_given_is_withdrawn() -> None:
    """Trust, permission to spoof and a VLAN of ours are removed where the new plan leaves them."""
    trusted = admin(trusted=True, spoof_check=False)
    assert trusted.change_to(ADMIN) == (admin(trusted=False, spoof_check=True), ADMIN)
    agents = spec(tag=None)
    assert SWITCH_PORT.change_to(agents) == (spec(tag=None, no_vlan=True), agents)
    assert agents.change_to(SWITCH_PORT) == (SWITCH_PORT,)
