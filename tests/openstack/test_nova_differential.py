"""Nova's own conversion, from Neutron's port to the os-vif object, beside ours.

Nova's real code runs on both halves of its way: ``API._build_vif_model`` makes its model of a
port, ``nova_to_osvif_vif`` the object. Only what would ask Neutron over HTTP is stood in for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import os_vif
import pytest
from differences import BAD_SLOTS, DIFFERENCES, LONG_BRIDGE, NETWORK_ID, WIDE_SLOTS, Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nova.network import neutron, os_vif_util

from smartvif.control.build_vif import build_vif
from smartvif.model.errors import Invalid
from smartvif.model.port import VifType, VnicType
from smartvif.model.vif import Vif
from smartvif.openstack.convert import from_osvif

DOC = Path(__file__).parents[2] / "docs" / "reference" / "vif-table.md"
EXAMPLES = 2000
VIF_TYPES = [VifType.OVS, VifType.AGILIO_OVS, VifType.VHOSTUSER]
SOUND_PAIRS = [
    (VifType.OVS, VnicType.NORMAL),
    (VifType.OVS, VnicType.DIRECT),
    (VifType.OVS, VnicType.VDPA),
    (VifType.OVS, VnicType.REMOTE_MANAGED),
    (VifType.AGILIO_OVS, VnicType.DIRECT),
    (VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER),
    (VifType.VHOSTUSER, VnicType.NORMAL),
]


class Neutron(neutron.API):  # type: ignore[misc]
    """Nova's Neutron client for one port, whose network is known without asking."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._physical_network = case.physical_network

    def _get_physnet_tunneled_info(self, *_: Any) -> tuple[str | None, bool]:
        return self._physical_network, self._physical_network is None


@pytest.fixture(autouse=True, scope="module")
def nova() -> Any:
    """Nova as its compute service starts it, and no Neutron to talk to."""
    os_vif.initialize()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neutron, "get_client", lambda *_, **__: None)
        yield


def nova_gives(case: Case) -> Vif:
    """The VIF of Nova's os-vif object for the port."""
    port = {
        "id": case.port_id,
        "network_id": NETWORK_ID,
        "tenant_id": "tenant",
        "mac_address": case.mac,
        "admin_state_up": True,
        "status": "DOWN",
        "fixed_ips": [],
        "binding:vif_type": case.vif_type.value,
        "binding:vnic_type": case.vnic_type.value,
        "binding:vif_details": case.details,
        "binding:profile": {} if case.pci_slot is None else {"pci_slot": case.pci_slot},
    }
    network = {"id": NETWORK_ID, "name": "net", "tenant_id": "tenant", "mtu": case.mtu}
    vif = Neutron(case)._build_vif_model(None, None, port, [network], [])
    assert vif["delegate_create"] is True
    if not case.profile:
        vif["profile"] = None
    if case.vlan is not None:
        vif["network"]["meta"] |= {"should_create_vlan": True, "vlan": case.vlan}
    return from_osvif(os_vif_util.nova_to_osvif_vif(vif))


def compare(case: Case) -> bool:
    """Ours equals Nova's, but for the differences that apply, which are as recorded.

    Returns: whether none applies, so that the two are wholly equal.
    """
    applying = [difference for difference in DIFFERENCES if difference.applies(case)]
    raising = [difference for difference in applying if difference.nova_raises]
    if raising:
        with pytest.raises(Exception, match=raising[0].nova_says) as nova_error:
            nova_gives(case)
        assert type(nova_error.value).__name__ == raising[0].nova_raises
    else:
        theirs = nova_gives(case)
        for difference in applying:
            assert difference.nova_gives(theirs, case), difference.id

    refusals = [difference.refused for difference in applying if difference.refused]
    if refusals:
        with pytest.raises(Invalid) as our_error:
            build_vif(case.port(), case.binding())
        assert any(refusal in str(our_error.value) for refusal in refusals)
        assert our_error.value.hint
        return False
    mended = case
    for difference in applying:
        mended = difference.mended(mended)
    expected = nova_gives(mended)
    for difference in applying:
        expected = difference.corrected(expected, case)
    assert build_vif(case.port(), case.binding()) == expected
    return not applying


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Bound ports of every VIF type and VNIC type, most of them sound."""

    def mostly(good: st.SearchStrategy[Any], *bad: Any) -> Any:
        return draw(st.sampled_from(bad)) if draw(st.integers(1, 20)) == 13 else draw(good)

    any_pair = st.tuples(st.sampled_from(VIF_TYPES), st.sampled_from(VnicType))
    vif_type, vnic_type = draw(st.sampled_from(SOUND_PAIRS) | any_pair)
    absent = st.none()
    hexadecimal = st.integers(0, 255).map("{:02x}".format)
    unicast = hexadecimal.filter(lambda byte: int(byte, 16) & 1 == 0)
    tail = ":".join(draw(st.tuples(*[hexadecimal] * 5)))
    slot = st.from_regex(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]", fullmatch=True)
    details = {
        "bridge_name": mostly(
            absent | st.from_regex(r"br-[a-z0-9]{1,11}", fullmatch=True), LONG_BRIDGE
        ),
        "datapath_type": draw(absent | st.sampled_from(["system", "netdev"])),
        "ovs_hybrid_plug": draw(absent | st.booleans()),
        "ovs_create_tap": draw(absent | st.booleans()),
        "port_filter": draw(absent | st.booleans()),
        "physical_network": draw(absent | st.just("details")),
        "vhostuser_mode": mostly(absent | st.sampled_from(["client", "server"]), "listen", ""),
        "vhostuser_socket": mostly(st.from_regex(r"/run/[a-z]{1,20}", fullmatch=True), None, ""),
        "vhostuser_ovs_plug": True if vif_type is VifType.VHOSTUSER else None,
    }
    return Case(
        vif_type=vif_type,
        vnic_type=vnic_type,
        details={key: value for key, value in details.items() if value is not None},
        port_id=str(draw(st.uuids())),
        mac=f"{mostly(unicast.filter(lambda b: b != '00'), '01', '33', 'FF')}:{tail}",
        pci_slot=mostly(slot, None, *BAD_SLOTS, *WIDE_SLOTS),
        profile=mostly(st.just(True), False),
        network_bridge=mostly(st.just(True), False),
        physical_network=draw(absent | st.sampled_from(["left", "right"])),
        vlan=draw(absent | st.integers(1, 4094)),
        mtu=draw(absent | st.integers(68, 65535)),
    )


def test_every_bound_port() -> None:
    """For any bound port ours is Nova's VIF, or differs from it as the page says."""
    equal: list[bool] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(cases())
    def each(case: Case) -> None:
        equal.append(compare(case))

    each()
    assert equal.count(True) > 500
    assert equal.count(False) > 500


@pytest.mark.parametrize("vnic_type", VnicType)
@pytest.mark.parametrize("vif_type", VIF_TYPES)
@pytest.mark.parametrize("hybrid", [False, True])
def test_every_pair(vif_type: VifType, vnic_type: VnicType, hybrid: bool) -> None:
    """No pair of VIF type and VNIC type is left to chance."""
    details = {
        "vhostuser_ovs_plug": True,
        "vhostuser_socket": "/run/vhu/guest.sock",
        "ovs_hybrid_plug": hybrid,
    }
    compare(Case(vif_type=vif_type, vnic_type=vnic_type, details=details))


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.id)
def test_every_difference(difference: Any) -> None:
    """Each recorded difference is true of Nova and of ours, in a case that shows it alone."""
    assert [other.id for other in DIFFERENCES if other.applies(difference.example)] == [
        difference.id
    ]
    compare(difference.example)


def test_the_pages_differences_are_these() -> None:
    """Every difference on the reference page is compared here, and none is compared unsaid."""
    rows = DOC.read_text().split("## Deliberate differences from Nova 34\n")[1]
    ids = re.findall(r"^\| `([a-z-]+)` \|", rows, re.MULTILINE)
    assert sorted(ids) == sorted(difference.id for difference in DIFFERENCES)
