"""On which host a machine with all its ports can be, and on which it is best."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartvif.choose.selection.policy import Policy
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.schedule import Decision, HostOffer, schedule
from smartvif.choose.selection.select import select
from smartvif.model import traits
from smartvif.model.port import Network, Port, VifType, VnicType
from smartvif.switches.device_request import device_request
from tests.support.pools import FIT, need, pool, whole

OVS, VROUTER = traits.datapath("ovs"), traits.datapath("vrouter")
DIRECT = need(host_traits=frozenset({OVS}))


def offer(name: str, *pools: Pool, switch: str = OVS) -> HostOffer:
    """A host with a switch."""
    return HostOffer(name=name, traits=frozenset({switch}), pools=pools)


def normal(name: str = "n", **changed: Any) -> DeviceRequest:
    """A port that needs the switch alone."""
    values: dict[str, Any] = {"device": None, "required": frozenset(), **changed}
    return need(name, host_traits=frozenset({OVS}), **values)


def order(decision: Decision) -> list[str]:
    """The hosts that would do, best first."""
    return [verdict.name for verdict in decision.verdicts if verdict.problem is None]


PLAIN, CARD, FULL = offer("plain"), offer("card", pool(0, 8)), offer("full", pool(0, 0, 8))
OTHER_SWITCH = offer("other", pool(0, 8), switch=VROUTER)


def test_a_normal_port_goes_anywhere() -> None:
    """It prefers hosts without a SmartNIC, whatever is free in the others."""
    decision = schedule([CARD, FULL, PLAIN, offer("also")], [normal()])
    assert order(decision) == ["also", "plain", "card", "full"]
    assert decision.best is not None
    assert decision.best.name == "also"
    assert order(schedule([CARD, FULL], [normal()], policy=Policy.PACK)) == ["full", "card"]


def test_an_accelerated_port_goes_where_it_works() -> None:
    """It needs a device that fits, and the switch that it is for."""
    legacy = offer("legacy", pool(0, 8, traits=frozenset({traits.TUNNELLED})))
    decision = schedule([PLAIN, FULL, legacy, OTHER_SWITCH, CARD], [DIRECT])
    assert order(decision) == ["card"]
    assert [verdict.problem for verdict in decision.verdicts] == [
        None,
        "there is no VF for port a",
        "there is no VF for port a",
        f"it lacks {OVS}",
        "it has no devices that all ports could have",
    ]
    assert [verdict.name for verdict in decision.verdicts[1:]] == sorted(
        verdict.name for verdict in decision.verdicts[1:]
    )


def test_all_ports_are_on_one_host() -> None:
    """Where each port would do somewhere and all of them nowhere, there is no host."""
    small, picky = offer("small", pool(0, 1)), offer("picky", pool(0, 1, traits=FIT | {"HW_X"}))
    wanted = [DIRECT, need("b", required=frozenset({"HW_X"}))]
    decision = schedule([small, picky], wanted)
    assert decision.best is None
    assert order(decision) == []
    both = offer("both", *small.pools, pool(1, 1, traits=FIT | {"HW_X"}))
    assert order(schedule([small, picky, both], wanted)) == ["both"]


def test_a_machine_with_both_kinds_of_ports() -> None:
    """One port that needs a device decides for the machine; hosts with one are then as good."""
    decision = schedule([PLAIN, CARD], [normal(), DIRECT])
    assert order(decision) == ["card"]
    assert decision.best is not None
    assert decision.best.spared
    assert decision.best.selection is not None
    assert [each.request.id for each in decision.best.selection.choices] == ["a"]


def test_ranks() -> None:
    """No drawback first, then what the policy prefers, then the name."""
    hosts = [
        offer("slow", pool(0, 8, drawback="its link is down")),
        offer("half", pool(0, 4, 4)),
        offer("idle", pool(0, 8)),
        offer("busy", pool(0, 1, 7)),
        offer("also-half", pool(0, 8, 8)),
    ]
    # One of eight and one of sixteen are left, or taken, of the halves.
    assert order(schedule(hosts, [DIRECT])) == ["idle", "also-half", "half", "busy", "slow"]
    packed = schedule(hosts, [DIRECT], policy=Policy.PACK)
    assert order(packed) == ["busy", "half", "also-half", "idle", "slow"]
    same = [offer(name, pool(0, 8)) for name in ("c", "a", "b")]
    assert order(schedule(same, [DIRECT])) == ["a", "b", "c"]


def test_drawbacks_are_counted() -> None:
    """Of two hosts the one is better where fewer ports have a drawback."""
    two = offer("a-two", pool(0, 2, drawback="slow"))
    one = offer("one", pool(0, 1, drawback="slow"), pool(1, 1))
    decision = schedule([two, one], [need("a"), need("b")])
    assert [(each.name, each.drawbacks) for each in decision.verdicts] == [("one", 1), ("a-two", 2)]


def test_what_is_left() -> None:
    """The share of the devices that would be free is of all of them, after the choice."""
    hosts = [offer("one", pool(0, 3, 1), pool(1, 4)), PLAIN]
    decision = schedule(hosts, [need("a"), need("b")])
    assert {each.name: each.free for each in decision.verdicts} == {"one": 5 / 8, "plain": 0.0}


def test_a_pf_takes_its_vfs_along() -> None:
    """Where a PF goes as a whole, its VFs are not left."""
    decision = schedule([offer("one", pool(0, 4), whole(0))], [need(device=DeviceType.PF)])
    assert decision.best is not None
    assert decision.best.free == 0


def test_it_is_explainable() -> None:
    """Every verdict has its selection, but where the host's switch decided."""
    decision = schedule([PLAIN, CARD, FULL, OTHER_SWITCH], [DIRECT])
    found = {verdict.name: verdict.selection for verdict in decision.verdicts}
    assert found.pop("other") is None
    assert {name: each and each.reasons for name, each in found.items()} == {
        "plain": ((),),
        "card": ((None,),),
        "full": (("none of it is free",),),
    }


def test_nowhere() -> None:
    """Without hosts there is none to take."""
    assert schedule([], [DIRECT]).best is None


@pytest.mark.parametrize(
    ("vnic_type", "vif_type", "hosts"),
    [
        (VnicType.NORMAL, VifType.OVS, {"plain", "card", "full"}),
        (VnicType.NORMAL, VifType.VROUTER, {"other"}),
        (VnicType.DIRECT, VifType.OVS, {"card"}),
        (VnicType.DIRECT, VifType.VROUTER, {"other"}),
        (VnicType.DIRECT, VifType.AGILIO_OVS, {"card"}),
        (VnicType.VIRTIO_FORWARDER, VifType.VROUTER, set()),
        (VnicType.DIRECT, VifType.HW_VEB, set()),
        (VnicType.DIRECT_PHYSICAL, VifType.OVS, set()),
        (VnicType.BAREMETAL, VifType.OVS, {"plain", "card", "full"}),
    ],
)
def test_ports_as_they_are_asked_for(
    vnic_type: VnicType, vif_type: VifType, hosts: set[str]
) -> None:
    """Each VNIC type goes where its switch is, and where a card has what it needs."""
    port = Port(id="a", mac="52:54:00:12:34:56", network=Network(id="net"), vnic_type=vnic_type)
    fit = FIT | {traits.vnic_type(VnicType.DIRECT)}
    offers = [
        PLAIN,
        offer("card", pool(0, 8, traits=fit)),
        offer("full", pool(0, 0, 8, traits=fit)),
        offer("other", pool(0, 8, traits=fit), switch=VROUTER),
    ]
    assert set(order(schedule(offers, [device_request(port, vif_type)]))) == hosts


@st.composite
def offers(draw: st.DrawFn) -> list[HostOffer]:
    """Some hosts, with and without SmartNICs, of both switches."""
    return [
        HostOffer(
            name=name,
            traits=draw(st.sampled_from([frozenset({OVS}), frozenset({VROUTER}), frozenset()])),
            pools=tuple(
                pool(number, *draw(st.sampled_from([(0, 2), (1, 1), (2, 0)])), drawback=drawback)
                for number in range(draw(st.integers(0, 2)))
                for drawback in [draw(st.sampled_from([None, "slow"]))]
            ),
        )
        for name in "abcde"[: draw(st.integers(1, 5))]
    ]


@settings(max_examples=200, deadline=None)
@given(
    offers(),
    st.lists(st.sampled_from([DIRECT, normal()]), min_size=1, max_size=3),
    st.sampled_from(Policy),
)
def test_any_hosts(hosts: list[HostOffer], wanted: list[DeviceRequest], policy: Policy) -> None:
    """Each host is judged by itself, and the order in which they come counts for nothing."""
    decision = schedule(hosts, wanted, policy=policy)
    assert decision == schedule(hosts[::-1], wanted, policy=policy)
    assert sorted(each.name for each in decision.verdicts) == [each.name for each in hosts]
    for host in hosts:
        alone = schedule([host], wanted, policy=policy).verdicts[0]
        assert alone in decision.verdicts
        works = OVS in host.traits and select(host.pools, wanted).problem is None
        assert (alone.problem is None) == works
    failed = [each.problem is not None for each in decision.verdicts]
    assert failed == sorted(failed)
    assert (decision.best is None) == all(failed)


def test_a_smartnic_of_which_nothing_is_asked() -> None:
    """A host that says it has one is left to others, though nobody has looked at its VFs."""
    plain = HostOffer(name="z", traits=frozenset())
    other = HostOffer(name="a", traits=frozenset({traits.SMARTNIC}))
    port = DeviceRequest(id="normal")
    best = schedule([other, plain], [port]).best
    assert best is not None
    assert best.name == "z"
