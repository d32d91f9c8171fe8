"""What Nova asks its PCI tracker for and what we do: the same, but for what is on record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import pytest
from nova import exception
from nova.accelerator import cyborg

from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model import traits
from smartvif.model.choices import NumaPolicy
from smartvif.model.port import VifType, VnicType
from smartvif.switches.device_request import device_request
from tests.support.nova.neutron_ports import PORT_ID, Case, neutron_stood_in, nova_requests, segment
from tests.support.nova.requests import ACCELERATED, BLIND, DIFFERENCES, TUNNELS, Blind, Difference

SRIOV_VIFS = (VifType.OVS, VifType.AGILIO_OVS, VifType.VROUTER, VifType.HW_VEB)
SRIOV = (
    VnicType.DIRECT,
    VnicType.MACVTAP,
    VnicType.DIRECT_PHYSICAL,
    VnicType.VIRTIO_FORWARDER,
    VnicType.VDPA,
    VnicType.REMOTE_MANAGED,
)
ALWAYS = {traits.SWITCHDEV, traits.REMOTE_MANAGED, *map(traits.vnic_type, VnicType)}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What either side asks for. ``trusted`` None: it does not matter."""

    device: DeviceType | None
    physical_network: str | None = None
    trusted: bool | None = None
    remote_managed: bool = False
    numa: NumaPolicy | None = None


@pytest.fixture(autouse=True, scope="module")
def nova() -> Iterator[None]:
    """Nova, and a Neutron for it."""
    with neutron_stood_in():
        yield


def nova_spec(case: Case) -> tuple[dict[str, str], str | None] | None:
    """The properties and the NUMA policy that Nova asks for, of one device; None: of no device."""
    found = nova_requests(case)
    if not found:
        return None
    (one,) = found
    assert one.count == 1
    assert one.requester_id == PORT_ID
    (spec,) = one.spec
    return spec, one.numa_policy


def nova_asks(case: Case) -> Asked:
    """What Nova asks for."""
    found = nova_spec(case)
    if found is None:
        return Asked(device=None)
    spec, policy = found
    assert spec.keys() <= {"physical_network", "remote_managed", "dev_type", "trusted"}
    words = {"True": True, "False": False, None: None}
    return Asked(
        device={None: DeviceType.VF, "type-PF": DeviceType.PF, "vdpa": DeviceType.VDPA}[
            spec.get("dev_type")
        ],
        physical_network=spec["physical_network"],
        trusted=words[spec.get("trusted")],
        remote_managed=bool(words[spec["remote_managed"]]),
        numa=None if policy is None else NumaPolicy(policy),
    )


def we_ask(found: DeviceRequest) -> Asked:
    """What we ask for of what Nova can ask for too."""
    if found.device is None:
        return Asked(device=None)
    assert found.id == PORT_ID
    assert found.required <= ALWAYS | {traits.TRUSTED}
    assert found.forbidden <= ALWAYS
    remote_managed = traits.REMOTE_MANAGED in found.required
    assert remote_managed != (traits.REMOTE_MANAGED in found.forbidden)
    return Asked(
        device=found.device,
        physical_network=found.physical_network,
        trusted=True if traits.TRUSTED in found.required else None,
        remote_managed=remote_managed,
        numa=found.numa,
    )


def applying(case: Case) -> list[Difference]:
    """The differences of a case; where there is no request, only those at which Nova raises."""
    found = [each for each in DIFFERENCES if each.applies(case)]
    raising = [each for each in found if each.nova_raises]
    return raising[:1] or (found if case.vnic_type in SRIOV else [])


def compare(case: Case) -> bool:
    """Ours is what Nova asks for, but for the differences that apply, which are as recorded.

    Returns: whether none applies.
    """
    differences = applying(case)
    ours = [we_ask(device_request(case.port(), vif_type)) for vif_type in SRIOV_VIFS]
    assert len(set(ours)) == 1
    for difference in differences:
        for name, value in difference.we_ask.items():
            assert getattr(ours[0], name) == value, difference.id
        if difference.nova_raises:
            with pytest.raises(exception.NovaException) as caught:
                nova_asks(case)
            assert type(caught.value).__name__ == difference.nova_raises
            return False
    theirs = nova_asks(case)
    for difference in differences:
        for name, value in difference.nova_asks.items():
            assert getattr(theirs, name) == value, difference.id
        theirs = replace(theirs, **difference.we_ask)
    assert ours[0] == theirs
    return not differences


NETWORKS = (
    (segment("flat", "left"),),
    (segment("vlan", "LEFT"),),
    (segment("vxlan"),),
    (segment("gre"),),
    (segment("geneve"),),
    (segment("local"),),
    (segment("vxlan"), segment("vlan", "left")),
    (segment("flat", "right"), segment("vlan", "left")),
    TUNNELS,
)
TRUST = (
    *((word, None) for word in (None, True, False, "true", "false", "yes", "1")),
    (None, True),
    (None, False),
    (True, True),
)


@pytest.mark.parametrize("vnic_type", VnicType)
def test_every_port(vnic_type: VnicType) -> None:
    """Every VNIC type on every kind of network, with every way to say trust and nearness."""
    equal = []
    policies = (None, *NumaPolicy)
    for segments, (trusted, attribute), policy, flavor in product(
        NETWORKS, TRUST, policies, (None, NumaPolicy.REQUIRED)
    ):
        case = Case(
            vnic_type=vnic_type,
            segments=segments,
            trusted=trusted,
            attribute=attribute,
            policy=policy,
            flavor=flavor,
        )
        equal.append(compare(case))
    assert any(equal) == (vnic_type not in ACCELERATED)
    assert not all(equal)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.id)
def test_every_difference(difference: Difference) -> None:
    """Each recorded difference is true of Nova and of ours, in a case that shows it alone."""
    assert [each.id for each in applying(difference.example)] == [difference.id]
    compare(difference.example)


@pytest.mark.parametrize("blind", BLIND, ids=lambda blind: blind.id)
def test_what_nova_does_not_ask_for(blind: Blind) -> None:
    """Nova's requests are the same for both ports, and ours tell them apart."""
    asked, found = [], []
    for vnic_type, vif_type in (blind.one, blind.other):
        case = Case(vnic_type=vnic_type)
        asked.append(nova_spec(case))
        found.append(asdict(device_request(case.port(), vif_type)))
    assert asked[0] == asked[1]
    assert {name for name in found[0] if found[0][name] != found[1][name]} == blind.words


def test_an_accelerators_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the device profile that it misses Nova asks Cyborg, and its PCI tracker for nothing."""

    class Answer:
        def json(self) -> Any:
            return {"device_profiles": [{"groups": [{"resources:FPGA": "1"}]}]}

    monkeypatch.setattr(cyborg._CyborgClient, "_call_cyborg", lambda *_, **__: (Answer(), None))
    resources = Case.resources
    monkeypatch.setattr(
        Case,
        "resources",
        lambda case: resources(case) | {"port": resources(case)["port"] | {"device_profile": "x"}},
    )
    for vnic_type in ACCELERATED:
        assert nova_asks(Case(vnic_type=vnic_type)) == Asked(device=None)
