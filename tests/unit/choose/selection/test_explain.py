"""Why each device was chosen or lost, and what is said where none could be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartvif.choose.selection.explain import explain, refusal
from smartvif.choose.selection.policy import Policy
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import Selection, select
from smartvif.model import traits
from smartvif.model.errors import NotFound, Refused, SmartvifError
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType
from tests.support.pools import FIT, GUEST, hosts, machines, need, pf, pool, vf, whole

HOST = (
    pool(0, 2, 2),
    pool(1, 2, traits=frozenset({traits.TUNNELLED})),
    pool(2, 1, drawback="its link is down"),
    whole(3),
)


def reasons(
    selection: Selection, port: str = "a", claimed: dict[PciAddress, str] | None = None
) -> dict[str, str | None]:
    """What is said of each device, for one port."""
    return {
        str(each.address): each.reason for each in explain(selection, claimed) if each.port == port
    }


def test_every_device_has_its_reason() -> None:
    """Of each device is said why it was not given, but of the one that was."""
    assert reasons(select(HOST, [need()])) == {
        "0000:83:00.0": "in use by port z",
        "0000:83:00.1": "in use by port z",
        "0000:83:00.2": None,
        "0000:83:00.3": "it is suitable, and 0000:83:00.2 has a lower address",
        "0000:84:00.0": "its eswitch is not in switchdev mode",
        "0000:84:00.1": "its eswitch is not in switchdev mode",
        "0000:85:00.0": "it is suitable, but its link is down",
        "0000:06:00.0": "it is a PF, and a VF is needed",
    }


@pytest.mark.parametrize(
    ("other", "policy", "reason"),
    [
        (pool(1, 2, 2), Policy.SPREAD, "it is suitable, and 0000:83:00.2 has a lower address"),
        (
            pool(1, 1, 3),
            Policy.SPREAD,
            "it is suitable, but spread prefers 0000:03:00.0: 2 of 4 in use there, 3 of 4 here",
        ),
        (
            pool(1, 4),
            Policy.PACK,
            "it is suitable, but pack prefers 0000:03:00.0: 2 of 4 in use there, 0 of 4 here",
        ),
        (
            pool(1, 4, numa_node=2),
            Policy.SPREAD,
            "it is suitable, but it is on NUMA node 2, and the guest on 0",
        ),
        (pool(1, 4, drawback="slow"), Policy.SPREAD, "it is suitable, but slow"),
    ],
)
def test_why_another_came_before_it(other: Pool, policy: Policy, reason: str) -> None:
    """A suitable device that was not chosen has the rule that decided."""
    pools = [pool(0, 2, 2, numa_node=None if other.numa_node is None else 0), other]
    selection = select(pools, [need()], policy=policy, guest=GUEST)
    assert selection.choices[0].pool.pf == pf(0)
    assert reasons(selection)[str(other.functions[-1])] == reason


def test_a_vf_by_name() -> None:
    """Where one is asked for, the others are not it, and have not what is wrong with it."""
    free = reasons(select(HOST, [need(vf=vf(0, 3))]))
    assert free["0000:83:00.3"] is None
    assert free["0000:83:00.2"] == free["0000:85:00.0"] == "it is not 0000:83:00.3"
    held = reasons(select(HOST, [need(vf=vf(0, 1))]))
    assert held["0000:83:00.1"] == "in use by port z"
    assert held["0000:83:00.2"] == "it is not 0000:83:00.1"


def test_claims_count() -> None:
    """What the store gave is what is told, though another would have come first."""
    selection = select([pool(0, 3)], [need("a"), need("b")])
    claimed = {vf(0, 1): "a", vf(0, 0): "b"}
    assert reasons(selection, "a", claimed) == {
        "0000:83:00.0": "port b of the same machine gets it",
        "0000:83:00.1": None,
        "0000:83:00.2": "it is suitable, and 0000:83:00.1 has a lower address",
    }
    assert reasons(selection, "b", claimed)["0000:83:00.0"] is None


def test_a_claim_without_an_address() -> None:
    """Where only the PF is claimed so far, the device is the one that would be taken."""
    selection = select([pool(0, 2)], [need()])
    assert reasons(selection, "a", {})["0000:83:00.0"] is None


def test_two_ports_get_two_devices() -> None:
    """Before anything is claimed no device is told to be two ports', and names go first."""
    ports = [need("a"), need("b"), need("c", vf=vf(0, 0))]
    selection = select([pool(0, 3), pool(1, 0, 3)], ports)
    chosen = {each.address: each.port for each in explain(selection) if each.reason is None}
    assert chosen == {vf(0, 0): "c", vf(0, 1): "a", vf(0, 2): "b"}
    assert reasons(selection, "b")["0000:83:00.0"] == "port c of the same machine gets it"


def test_what_the_machine_itself_takes_is_in_use() -> None:
    """The numbers are those by which the choice was made."""
    selection = select([pool(0, 4), pool(1, 4)], [need("a"), need("b")])
    assert reasons(selection, "b")["0000:83:00.1"] == (
        "it is suitable, but spread prefers 0000:04:00.0: 0 of 4 in use there, 1 of 4 here"
    )


def test_what_is_left_to_another_port() -> None:
    """A port that lost a better device to the whole of the machine is told so."""
    pools = [pool(0, 2, rate=1000), pool(1, 1, 3, rate=500)]
    selection = select(pools, [need("a", min_rate=500), need("b", min_rate=1000)])
    assert [choice.pool.pf for choice in selection.choices] == [pf(1), pf(0)]
    assert reasons(selection, "a")["0000:83:00.1"] == (
        "it is suitable, but for the machine's ports together 0000:84:00.3 is chosen"
    )


@settings(max_examples=300, deadline=None)
@given(hosts(), machines(), st.sampled_from(Policy))
def test_each_port_gets_one(pools: list[Pool], ports: list[DeviceRequest], policy: Policy) -> None:
    """For each port every device is told once; one is chosen, if any is, and no other's."""
    selection = select(pools, ports, policy=policy, guest=GUEST)
    told = explain(selection)
    everything = sorted(
        address for each in pools for address in (*each.functions, *each.unavailable)
    )
    for port in ports:
        assert sorted(each.address for each in told if each.port == port.id) == everything
    chosen = [each for each in told if each.reason is None]
    expected = [choice.request.id for choice in selection.choices]
    assert [each.port for each in chosen] == expected
    assert len({each.address for each in chosen}) == len(chosen)
    of = {choice.request.id: choice.pool.functions for choice in selection.choices}
    assert all(each.address in of[each.port] for each in chosen)
    assert all(each.reason != "" for each in told)


# What is said where there is none.


def refused(pools: list[Pool] | tuple[Pool, ...], *ports: DeviceRequest) -> SmartvifError:
    """The error for the first port."""
    selection = select(pools, ports)
    assert selection.problem is not None
    return refusal(selection, ports[0])


@pytest.mark.parametrize("name", ["p9", "0000:af:00.0", "P0", "None"])
def test_a_pf_that_is_not_there(name: str) -> None:
    """The error names the PF asked for and, as the hint, those there are."""
    error = refused([pool(0), pool(0, first=8), pool(1, netdev=None)], need(pf=name))
    assert isinstance(error, NotFound)
    assert error.what == f"there is no PF '{name}'"
    assert error.hint == "PFs: 0000:03:00.0 (p0), 0000:04:00.0 (no netdev)"


def test_no_card() -> None:
    """A host without any PF is said to be one."""
    error = refused([], need())
    assert isinstance(error, NotFound)
    assert error.what == "there is no PF with VFs"
    assert error.hint == "PFs: none"


def test_a_pf_without_vfs() -> None:
    """The way to VFs is the hint; a PF that could be had is none."""
    for pools in ([pool(0, 0)], [whole(0)]):
        error = refused(pools, need(pf="p0"))
        assert isinstance(error, NotFound)
        assert error.what == "none of 0 VFs is suitable"
        assert error.hint == "make VFs by writing their number to sriov_numvfs"


def test_a_vf_that_is_not_there() -> None:
    """A VF that no card has is not found, nor is one of another PF than the one asked for."""
    error = refused(HOST, need(vf=vf(9, 0)))
    assert isinstance(error, NotFound)
    assert error.what == "there is no VF 0000:8c:00.0"
    error = refused(HOST, need(pf="p1", vf=vf(0, 2)))
    assert isinstance(error, NotFound)
    assert error.what == "PF 'p1' has no VF 0000:83:00.2"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (vf(0, 0), "in use by port z"),
        (vf(1, 0), "its eswitch is not in switchdev mode"),
        (pf(3), "it is a PF, and a VF is needed"),
    ],
)
def test_a_vf_that_cannot_be_had(address: PciAddress, reason: str) -> None:
    """A VF asked for that is not free is refused with the reason; no other is given instead."""
    error = refused(HOST, need(vf=address))
    assert isinstance(error, Refused)
    assert error.what == f"VF {address} cannot be used: {reason}"
    assert error.hint


def test_none_would_do() -> None:
    """Each reason is named once, with its first VF; what is no VF is not counted."""
    error = refused(
        [pool(0, 0, 3), pool(1, 2, traits=frozenset({traits.TUNNELLED})), whole(2)], need()
    )
    assert isinstance(error, NotFound)
    assert error.what == "none of 5 VFs is suitable"
    assert error.hint == (
        "0000:83:00.0 and 2 more: in use by port z;"
        " 0000:84:00.0 and 1 more: its eswitch is not in switchdev mode"
    )


def test_none_of_a_pf_would_do() -> None:
    """Where a PF is asked for, only its VFs are told."""
    error = refused([pool(0, 0, 2), pool(1)], need(pf="p0"))
    assert error.what == "none of 2 VFs is suitable"
    assert error.hint == "0000:83:00.0 and 1 more: in use by port z"


@pytest.mark.parametrize("device", [DeviceType.PF, DeviceType.VDPA])
def test_none_of_another_kind(device: DeviceType) -> None:
    """What is missing is called by its name."""
    error = refused([pool(0), pool(1, 0, 1, device=device)], need(device=device))
    assert error.what == f"none of 1 {device}s is suitable"


def test_none_for_all() -> None:
    """Where ports stand in each other's way, that is the reason."""
    error = refused([pool(0, 1, traits=FIT)], need("a"), need("b"))
    assert error.what == "none of 1 VFs is suitable"
    assert error.hint == (
        "0000:83:00.0: it is suitable,"
        " but there are devices for each of 2 ports, but not for all together"
    )


def test_why_not_by_passthrough() -> None:
    """What this host knows of each VF is said instead of the name of a capability."""
    direct = traits.vnic_type(VnicType.DIRECT)
    asked = need(required=frozenset({direct, traits.SWITCHDEV}))
    there = pool(0, 2)
    groups = "it shares IOMMU group 51 with {}, and a guest gets all or none"
    why = {address: groups.format(address) for address in there.functions}
    selection = select([replace(there, no_passthrough=why)], [asked])
    assert reasons(selection) == {str(address): reason for address, reason in why.items()}
    named = replace(asked, vf=there.functions[0])
    error = refusal(select(selection.pools, [named]), named)
    assert isinstance(error, Refused)
    assert error.what.endswith(f"cannot be used: {why[there.functions[0]]}")
    assert "docs/how-to" in error.hint
    assert set(reasons(select([there], [asked])).values()) == {
        "it is not alone in an IOMMU group, so that no guest can get it by passthrough"
    }
    legacy = replace(there, traits=frozenset({direct, traits.TUNNELLED}), no_passthrough=why)
    assert set(reasons(select([legacy], [asked])).values()) == {
        "its eswitch is not in switchdev mode"
    }
