"""Which device each port of a machine gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartvif.choose.selection.policy import Policy
from smartvif.choose.selection.pool import ANYWHERE, Guest, Pool, mismatch
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import Selection, select
from smartvif.model import traits
from smartvif.model.choices import NumaPolicy
from smartvif.model.pci import PciAddress
from tests.support.pools import (
    FAR,
    FIT,
    GUEST,
    NEAR,
    NOWHERE,
    RATE,
    SAME_SOCKET,
    hosts,
    machines,
    need,
    pf,
    pool,
    vf,
    whole,
)


def pfs(selection: Selection) -> list[PciAddress]:
    """Of which PF each request has a device."""
    assert selection.problem is None
    return [choice.pool.pf for choice in selection.choices]


# One port.


@pytest.mark.parametrize(
    ("pools", "chosen"),
    [
        ([pool(1), pool(0)], 0),
        ([pool(0, 0, 2), pool(1)], 1),
        ([pool(0, 3, 1), pool(1, 4, 1)], 1),
        ([pool(0, 1, 1), pool(1, 60, 4)], 1),
        ([pool(0, 8), pool(1, 2)], 0),
        ([pool(0, traits=frozenset({traits.TUNNELLED})), pool(1, 1, 7)], 1),
        ([pool(0, drawback="no link"), pool(1, 1, 7)], 1),
        ([pool(0, drawback="no link"), pool(1, 0, 8)], 0),
        ([whole(0), pool(1)], 1),
    ],
)
def test_one_port(pools: list[Pool], chosen: int) -> None:
    """It goes where it fits: the least used share, no drawback, the lowest address."""
    assert pfs(select(pools, [need()])) == [pf(chosen)]


def test_pack() -> None:
    """Packed, a port goes where the most is in use already, and never where all is."""
    pools = [pool(0, 8), pool(1, 3, 5), pool(2, 1, 1), pool(3, 0, 8)]
    assert pfs(select(pools, [need()], policy=Policy.PACK)) == [pf(1)]
    assert pfs(select(pools, [need()], policy=Policy.SPREAD)) == [pf(0)]


def test_several_ports_are_spread_or_packed() -> None:
    """What a machine's own ports take counts for those after them."""
    pools = [pool(0, 4), pool(1, 4)]
    ports = [need("a"), need("b"), need("c"), need("d")]
    assert pfs(select(pools, ports)) == [pf(0), pf(1), pf(0), pf(1)]
    assert pfs(select(pools, ports, policy=Policy.PACK)) == [pf(0)] * 4


@pytest.mark.parametrize("policy", Policy)
def test_the_order_of_what_counts(policy: Policy) -> None:
    """A drawback counts before nearness, nearness before use, use before the address."""
    drawback = pool(0, 4, 4, numa_node=NEAR, drawback="no link")
    far, near = pool(1, 4, 4, numa_node=FAR), pool(2, 4, 4, numa_node=NEAR)
    assert pfs(select([drawback, far], [need()], policy=policy, guest=GUEST)) == [pf(1)]
    liked = pool(3, *((8, 0) if policy is Policy.SPREAD else (1, 7)), numa_node=FAR)
    assert pfs(select([liked, near, far], [need()], policy=policy, guest=GUEST)) == [pf(2)]
    assert pfs(select([liked, near, far], [need()], policy=policy)) == [pf(3)]


@pytest.mark.parametrize(
    ("policy", "fits"),
    [
        (NumaPolicy.REQUIRED, {NEAR}),
        (NumaPolicy.SOCKET, {NEAR, SAME_SOCKET}),
        (NumaPolicy.LEGACY, {NEAR, NOWHERE}),
        (NumaPolicy.PREFERRED, {NEAR, SAME_SOCKET, FAR, NOWHERE}),
    ],
)
@pytest.mark.parametrize("node", [NEAR, SAME_SOCKET, FAR, NOWHERE])
def test_numa(policy: NumaPolicy, fits: set[int | None], node: int | None) -> None:
    """How near a device must be is the policy's to say, where the guest is somewhere at all."""
    pools, port = [pool(0, numa_node=node)], need(numa=policy)
    assert (select(pools, [port], guest=GUEST).problem is None) == (node in fits)
    assert select(pools, [port], guest=ANYWHERE).problem is None
    # Whatever may be taken, what is near is taken first.
    near = select([*pools, pool(1, 1, 7, numa_node=NEAR)], [port], guest=GUEST)
    assert pfs(near) == [pf(0) if node == NEAR else pf(1)]


def test_sockets_that_nobody_knows() -> None:
    """Two nodes of which neither has a known socket do not share one."""
    guest = Guest(nodes=frozenset({NEAR}))
    port = need(numa=NumaPolicy.SOCKET)
    assert select([pool(0, numa_node=FAR)], [port], guest=guest).problem is not None
    assert select([pool(0, numa_node=NEAR)], [port], guest=guest).problem is None


def test_a_port_that_needs_nothing() -> None:
    """It gets nothing, and is in nobody's way."""
    selection = select([], [need("a", device=None)])
    assert selection.problem is None
    assert selection.choices == ()
    assert selection.requests == ()
    mixed = select([pool(0, 1)], [need("a", device=None), need("b")])
    assert [choice.request.id for choice in mixed.choices] == ["b"]


# Why a device would not do.


@pytest.mark.parametrize(
    ("offered", "port", "reason"),
    [
        (whole(0), need(), "it is a PF, and a VF is needed"),
        (pool(0), need(device=DeviceType.PF), "it is a VF, and a PF is needed"),
        (pool(0), need(device=DeviceType.VDPA), "it is a VF, and a vdpa is needed"),
        (pool(0), need(pf="p1"), "it is of another PF than p1"),
        (pool(0), need(pf="P0"), "it is of another PF than P0"),
        (pool(0, netdev=None), need(pf="None"), "it is of another PF than None"),
        (pool(0), need(pf="0000:04:00.0"), "it is of another PF than 0000:04:00.0"),
        (pool(0), need(pf="p0"), None),
        (pool(0xA7), need(pf="0000:AA:00.0"), None),
        (
            pool(0, traits=frozenset({traits.TUNNELLED})),
            need(),
            "its eswitch is not in switchdev mode",
        ),
        (
            pool(0),
            need(required=frozenset(), forbidden=frozenset({traits.SWITCHDEV})),
            "its eswitch is in switchdev mode, which leaves legacy ports unconnected",
        ),
        (pool(0), need(required=frozenset({traits.TRUSTED})), "it may not be trusted"),
        (
            pool(0),
            need(required=frozenset({traits.REMOTE_MANAGED})),
            "no other host manages it",
        ),
        (
            pool(0, traits=FIT | {traits.REMOTE_MANAGED}),
            need(forbidden=frozenset({traits.REMOTE_MANAGED})),
            "it is for remote-managed ports",
        ),
        (pool(0), need(required=frozenset({"HW_GPU"})), "it lacks HW_GPU"),
        (
            pool(0, traits=FIT | {"CUSTOM_SLOW"}),
            need(forbidden=frozenset({"CUSTOM_SLOW"})),
            "it has CUSTOM_SLOW",
        ),
        (
            pool(0, unknown=frozenset({traits.VF_LAG})),
            need(required=frozenset({traits.VF_LAG})),
            "it is not known whether it has CUSTOM_NIC_VF_LAG",
        ),
        (
            pool(0, traits=frozenset({traits.TUNNELLED}), unknown=frozenset({traits.SWITCHDEV})),
            need(required=frozenset(), forbidden=frozenset({traits.SWITCHDEV})),
            "it is not known whether it has HW_NIC_OFFLOAD_SWITCHDEV",
        ),
        (
            pool(0, traits=frozenset({traits.SWITCHDEV})),
            need(),
            "the allow-list says no physical_network of it; for tunnels it must say null",
        ),
        (
            pool(0, physical_network="left"),
            need(),
            "it is on physical network left, and a tunnelled one is needed",
        ),
        (
            pool(0),
            need(physical_network="left"),
            "it is on no physical network, and left is needed",
        ),
        (
            pool(0, physical_network="right"),
            need(physical_network="left"),
            "it is on physical network right, not left",
        ),
        (pool(0, physical_network="LEFT"), need(physical_network="left"), None),
        (pool(0), need(min_rate=1), "the speed of its PF is not known"),
        (pool(0, rate=999), need(min_rate=1000), "999 kbit/s of its PF are left, and 1000"),
        (pool(0, rate=1000), need(min_rate=1000), None),
        (pool(0, rate=0), need(), None),
    ],
)
def test_why_not(offered: Pool, port: DeviceRequest, reason: str | None) -> None:
    """A device does or does not, and what is said is the reason."""
    found = mismatch(offered, port)
    assert found is None if reason is None else found is not None and found.startswith(reason)
    assert (select([offered], [port]).problem is None) == (reason is None)


@pytest.mark.parametrize(
    ("policy", "node", "words"),
    [
        (NumaPolicy.REQUIRED, FAR, "it is on NUMA node 2, and the guest on 0, 1"),
        (NumaPolicy.LEGACY, FAR, "it is on NUMA node 2, and the guest on 0, 1"),
        (NumaPolicy.SOCKET, FAR, "it is on NUMA node 2, in another socket than the guest's 0, 1"),
        (NumaPolicy.REQUIRED, NOWHERE, "it is on NUMA node None, and the guest on 0, 1"),
    ],
)
def test_too_far(policy: NumaPolicy, node: int | None, words: str) -> None:
    """Where a device is too far, both places are named."""
    guest = replace(GUEST, nodes=frozenset({0, 1}))
    assert mismatch(pool(0, numa_node=node), need(numa=policy), guest) == words


# Several ports.


def test_what_only_one_can_use_is_left_to_it() -> None:
    """A port that fits anywhere does not take the only device of one that does not."""
    both, plain = FIT | {traits.TRUSTED}, FIT
    pools = [pool(0, 1, traits=both), pool(1, 1, traits=plain)]
    picky = need("picky", required=frozenset({traits.SWITCHDEV, traits.TRUSTED}))
    assert pfs(select(pools, [need("any"), picky])) == [pf(1), pf(0)]
    assert pfs(select(pools, [picky, need("any")])) == [pf(0), pf(1)]


def test_a_rate_is_promised_once() -> None:
    """Two ports have no more than their PF's speed together, each in the pool it is in."""
    one, other = pool(0, 2, rate=RATE), pool(0, 2, first=2, traits=FIT | {"CUSTOM_X"}, rate=RATE)
    ports = [need("a", min_rate=2000), need("b", min_rate=2000)]
    assert select([one], ports[:1]).problem is None
    assert "not for all together" in str(select([one, other], ports).problem)
    assert sorted(pfs(select([one, pool(1, rate=2000)], ports))) == [pf(0), pf(1)]
    # It is packed so that the largest has room, in whichever order they are asked for.
    uneven = [need("a", min_rate=1000), need("b", min_rate=2000), need("c", min_rate=3000)]
    for order in permutations(uneven):
        found = select([pool(0, rate=RATE), pool(1, rate=RATE)], order)
        assert found.problem is None


def test_it_goes_back() -> None:
    """Where the best for the first port leaves too little for the others, it gets another."""
    pools = [pool(0, 4, rate=3000), pool(1, 4, rate=2000)]
    ports = [need("a", min_rate=2000), need("b", min_rate=1500), need("c", min_rate=1500)]
    assert pfs(select(pools, ports[:1])) == [pf(0)]
    assert pfs(select(pools, ports)) == [pf(1), pf(0), pf(0)]


@pytest.mark.parametrize("kind", [DeviceType.VF, DeviceType.VDPA])
def test_a_pf_goes_whole_or_in_parts(kind: DeviceType) -> None:
    """Of a PF there is either the whole or its parts, in whichever order they are asked for."""
    parts, entire = pool(0, device=kind), whole(0)
    part, all_of_it = need("part", device=kind), need("whole", device=DeviceType.PF)
    for ports in permutations([part, all_of_it]):
        assert "not for all together" in str(select([parts, entire], ports).problem)
        found = select([parts, entire, pool(1, device=kind)], ports)
        assert {each.request.id: each.pool.pf for each in found.choices} == {
            "part": pf(1),
            "whole": pf(0),
        }


def test_a_vf_by_name() -> None:
    """The VF asked for, or none; what is free beside it does not stand in."""
    pools = [pool(0, 2, 1), pool(1, 2)]
    for address in (vf(0, 1), vf(0, 2), vf(1, 1)):
        (choice,) = select(pools, [need(vf=address)]).choices
        assert address in choice.pool.functions
    for address in (vf(0, 0), vf(5, 0), pf(0)):
        assert select(pools, [need(vf=address)]).problem == "there is no VF for port a"
    assert select(pools, [need(vf=vf(1, 1), pf="p0")]).problem is not None
    assert select(pools, [need(vf=vf(1, 1), pf="p1")]).problem is None


def test_a_vf_by_name_is_left_to_its_port() -> None:
    """A port that names the last VF of a PF gets it, whoever else would take it."""
    ports = [need("any"), need("named", vf=vf(0, 0))]
    assert pfs(select([pool(0, 1), pool(1, 1, 7)], ports)) == [pf(1), pf(0)]


def test_the_same_vf_twice() -> None:
    """Two ports cannot have one VF, though there is room for two."""
    ports = [need("a", vf=vf(0, 0)), need("b", vf=vf(0, 0))]
    assert select([pool(0, 8)], ports).problem is not None
    assert select([pool(0, 8)], [ports[0], replace(ports[1], vf=vf(0, 1))]).problem is None


def test_problems() -> None:
    """What is said is which port has none, or that they have none together."""
    assert select([pool(0)], [need(), need("b", pf="p9")]).problem == "there is no VF for port b"
    assert select([], [need(device=DeviceType.PF)]).problem == "there is no PF for port a"
    assert (
        select([pool(0, 1)], [need(), need("b")]).problem
        == "there are devices for each of 2 ports, but not for all together"
    )


# Any host, and any machine.


def is_possible(ports: Sequence[DeviceRequest], devices: Sequence[tuple[Pool, PciAddress]]) -> bool:
    """Whether each port can have its device of these, told device by device."""
    addresses = Counter(address for _, address in devices)
    promised = Counter[PciAddress]()
    for port, (owner, _) in zip(ports, devices, strict=True):
        promised[owner.pf] += port.min_rate
    whole = {owner.pf for owner, _ in devices if owner.device is DeviceType.PF}
    in_parts = {owner.pf for owner, _ in devices if owner.device is not DeviceType.PF}
    return (
        all(count == 1 for count in addresses.values())
        and whole.isdisjoint(in_parts)
        and all(promised[owner.pf] <= (owner.rate or 0) for owner, _ in devices)
    )


def ways(
    pools: Sequence[Pool], ports: Sequence[DeviceRequest], guest: Guest
) -> list[list[tuple[Pool, PciAddress]]]:
    """For each port every device that it could have, were it alone."""
    return [
        [
            (each, address)
            for each in pools
            if mismatch(each, port, guest) is None
            for address in each.functions
            if port.vf in (None, address)
        ]
        for port in ports
    ]


def test_it_finds_a_way_where_there_is_one() -> None:
    """Something is chosen if any way is possible, and what is chosen is one."""
    found: list[bool] = []

    @settings(max_examples=500, deadline=None)
    @given(hosts(), machines(), st.sampled_from(Policy), st.sampled_from([ANYWHERE, GUEST]))
    def each(pools: list[Pool], ports: list[DeviceRequest], policy: Policy, guest: Guest) -> None:
        selection = select(pools, ports, policy=policy, guest=guest)
        possible = any(is_possible(ports, way) for way in product(*ways(pools, ports, guest)))
        found.append(possible)
        assert (selection.problem is None) == possible
        assert [choice.request for choice in selection.choices] == (ports if possible else [])
        given_away = devices(selection)
        assert not possible or is_possible(ports, [given_away[port.id] for port in ports])
        for choice in selection.choices:
            assert mismatch(choice.pool, choice.request, guest) is None

    each()
    assert found.count(True) > 50
    assert found.count(False) > 50


def devices(selection: Selection) -> dict[str, tuple[Pool, PciAddress]]:
    """What a store gives the ports: devices asked for by name, then the first that is left."""
    left = {each.functions: list(each.functions) for each in selection.pools}
    found: dict[str, tuple[Pool, PciAddress]] = {}
    for choice in sorted(selection.choices, key=lambda choice: choice.request.vf is None):
        address = choice.request.vf or left[choice.pool.functions][0]
        left[choice.pool.functions].remove(address)
        found[choice.request.id] = choice.pool, address
    return found


@settings(max_examples=500, deadline=None)
@given(hosts(), machines(), st.sampled_from(Policy))
def test_it_is_stable(pools: list[Pool], ports: list[DeviceRequest], policy: Policy) -> None:
    """In whichever order a host's pools come, the same are chosen."""
    first = select(pools, ports, policy=policy, guest=GUEST)
    second = select(pools[::-1], ports, policy=policy, guest=GUEST)
    assert first.choices == second.choices
    assert first.problem == second.problem


@settings(max_examples=300, deadline=None)
@given(hosts(), machines(), st.sampled_from(Policy))
def test_one_port_gets_the_best(
    pools: list[Pool], ports: list[DeviceRequest], policy: Policy
) -> None:
    """Nothing that fits it has no drawback, is nearer, or suits the policy more."""
    sign = 1 if policy is Policy.SPREAD else -1

    def merits(each: Pool) -> tuple[bool, bool, float]:
        used = (each.total - each.free) / each.total
        return each.drawback is not None, each.numa_node != NEAR, sign * used

    for port in ports:
        fitting = [each for each, _ in ways(pools, [port], GUEST)[0]]
        selection = select(pools, [port], policy=policy, guest=GUEST)
        assert (selection.problem is None) == bool(fitting)
        for choice in selection.choices:
            assert merits(choice.pool) == min(map(merits, fitting))


class Watchful(Guest):
    """A guest that counts how often it is asked whether a device is near."""

    asked = 0

    def is_near(self, node: int | None) -> bool:
        """Whether it is."""
        Watchful.asked += 1
        return super().is_near(node)


def test_many_ways_to_fail() -> None:
    """That there is no way is found soon where all that is tried is alike."""
    cards = 12
    pools = [pool(number, 1, rate=RATE) for number in range(cards)]
    ports = [need(f"{number}", min_rate=2000) for number in range(cards + 1)]
    assert select(pools, ports[1:], guest=Watchful()).problem is None
    Watchful.asked = 0
    assert "not for all together" in str(select(pools, ports, guest=Watchful()).problem)
    assert 0 < Watchful.asked < cards**3
