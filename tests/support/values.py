"""Hypothesis strategies for values of the model."""

from __future__ import annotations

from hypothesis import strategies as st

from smartvif.model.choices import Mode, NumaPolicy
from smartvif.model.needs import Needs
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import PortFacts, VfIdentity

ADDRESSES = st.builds(
    PciAddress,
    domain=st.integers(0, 0xFFFFFFFF),
    bus=st.integers(0, 0xFF),
    slot=st.integers(0, 0x1F),
    function=st.integers(0, 7),
)
TRAITS = st.sampled_from(["HW_NIC_SRIOV", "CUSTOM_X", "CUSTOM_" + 248 * "9"])
NEEDS = st.builds(
    Needs,
    capabilities=st.frozensets(TRAITS),
    physical_network=st.none() | st.text(),
    trusted=st.booleans(),
    min_rate=st.integers(0, 2**31 - 1),
    numa=st.sampled_from(NumaPolicy),
)
IDENTITIES = st.builds(
    VfIdentity, pf=ADDRESSES, number=st.none() | st.integers(0, 65535), address=ADDRESSES
)


def facts(vf: st.SearchStrategy[VfIdentity | None]) -> st.SearchStrategy[PortFacts]:
    """Any facts, of a port with ``vf``."""
    texts = st.none() | st.text()
    return st.builds(
        PortFacts,
        vm=st.text(),
        vm_uuid=texts,
        vf=vf,
        mode=st.sampled_from(Mode),
        switch=st.text(),
        vif_type=st.text(),
        bridge=texts,
        network=texts,
        mac=st.text(),
        vlan=st.none() | st.integers(),
        mtu=st.none() | st.integers(),
        switch_port=texts,
        socket=texts,
        simulated=st.lists(st.text()).map(tuple),
        needs=st.none() | NEEDS,
    )
