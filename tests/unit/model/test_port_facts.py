"""The facts of a port, as the journal keeps them: of this version, of 0.1.0, and damaged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.model.choices import Mode, NumaPolicy
from smartvif.model.errors import Damaged
from smartvif.model.needs import Needs
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import PortFacts, VfIdentity
from tests.support.facts import port_facts
from tests.support.values import IDENTITIES, facts

VF = "0000:04:00.1"
# What 0.1.0 wrote; the VF was in the row.
VERSION_0: dict[str, Any] = {
    "vif_type": "ovs",
    "vm": "vm1",
    "mode": "direct",
    "switch": "ovs",
    "bridge": "br-int",
    "network": None,
    "mac": "52:54:00:12:34:56",
    "vlan": 7,
    "mtu": 1450,
    "pf": "0000:03:00.0",
    "switch_port": "p0r1",
    "socket": None,
    "simulated": ["vf", "eswitch", "passthrough"],
}
NEEDS_0 = {
    "capabilities": ["HW_NIC_SRIOV", "CUSTOM_X"],
    "physical_network": "physnet0",
    "trusted": True,
    "min_rate": 1000,
    "numa": "required",
}
FACTS_0 = PortFacts(
    vm="vm1",
    vf=VfIdentity(pf=PciAddress.parse("0000:03:00.0"), number=None, address=PciAddress.parse(VF)),
    mode=Mode.DIRECT,
    switch="ovs",
    vif_type="ovs",
    bridge="br-int",
    mac="52:54:00:12:34:56",
    vlan=7,
    mtu=1450,
    switch_port="p0r1",
    simulated=("vf", "eswitch", "passthrough"),
)


@given(facts(st.none() | IDENTITIES), st.none() | st.just(VF))
def test_what_is_dumped_is_loaded(written: PortFacts, vf: str | None) -> None:
    """Every fact survives being written and read, whatever VF the row names beside it."""
    if written.vf is None:
        vf = None
    assert PortFacts.load(written.dump(), vf) == written


@given(facts(st.none() | IDENTITIES))
def test_what_is_dumped_is_what_people_see(written: PortFacts) -> None:
    """The stored document has every key that is shown, and a version, the machine and the VF."""
    stored, shown = json.loads(written.dump()), written.as_json()
    assert {key: stored[key] for key in shown} == shown
    assert stored.keys() - shown.keys() == {"version", "vm_uuid", "vf"}


def test_version_0_without_needs() -> None:
    """What 0.1.0 wrote of a port whose device Nova chose is read, with the VF of its row."""
    assert PortFacts.load(json.dumps(VERSION_0), VF) == FACTS_0
    assert PortFacts.load(json.dumps({**VERSION_0, "needs": None}), VF) == FACTS_0


def test_version_0_with_needs() -> None:
    """What 0.1.0 wrote of a port whose device was chosen here is read, with its needs."""
    found = PortFacts.load(json.dumps({**VERSION_0, "needs": NEEDS_0}), VF)
    assert found.needs == Needs(
        capabilities=frozenset({"HW_NIC_SRIOV", "CUSTOM_X"}),
        physical_network="physnet0",
        trusted=True,
        min_rate=1000,
        numa=NumaPolicy.REQUIRED,
    )
    assert found.vf == FACTS_0.vf


def test_version_0_without_a_vf() -> None:
    """A port of mode normal has no VF in its row, and none in its facts."""
    document = {**VERSION_0, "mode": "normal", "pf": None}
    assert PortFacts.load(json.dumps(document)).vf is None


def changed(**changes: Any) -> str:
    """Facts as this version writes them, with changes."""
    return json.dumps({**json.loads(port_facts(VF).dump()), **changes})


def without(key: str) -> str:
    """The same without a key."""
    document = json.loads(port_facts(VF).dump())
    del document[key]
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed(version=2), "its version is 2, and 1 is the newest known"),
        (changed(version=-1), "its version is -1"),
        (changed(version="1"), "not supported between"),
        *((without(key), f"'{key}' is missing") for key in ("vm", "mode", "mac", "simulated")),
        (changed(vm=1), "'vm' is 1"),
        (changed(vlan="7"), "'vlan' is '7'"),
        (changed(simulated="vf"), "'simulated' is 'vf'"),
        (changed(vf=VF), f"'vf' is '{VF}'"),
        (changed(vf={"number": 1, "address": "04:00.1"}), "'04:00.1' is not a PCI address"),
        (changed(vf={"number": "1", "address": VF}), "'number' is '1'"),
        (changed(pf="p0"), "'p0' is not a PCI address"),
        (changed(mode="bridged"), "'bridged' is not a valid Mode"),
        (changed(needs={}), "no needs"),
        (changed(needs={**NEEDS_0, "numa": "near"}), "'near' is not a valid NumaPolicy"),
        (changed(needs=[]), "no needs"),
        ("{}", "is missing"),
        ("[]", "'list' object"),
        ("null", "'NoneType' object"),
        ("", "Expecting value"),
        (changed()[:-1], "Expecting ',' delimiter"),
    ],
)
def test_damaged(text: str, words: str) -> None:
    """What neither version wrote is an error that says what is wrong with it, and what to do."""
    with pytest.raises(Damaged, match="the facts of a port cannot be read") as caught:
        PortFacts.load(text, VF)
    assert words in caught.value.what
    assert "backup" in caught.value.hint


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), st.data())
def test_any_value_of_any_key(value: object, data: st.DataObject) -> None:
    """Whatever stands for a key's value, the facts are read or damaged, and nothing else."""
    key = data.draw(st.sampled_from(sorted(json.loads(changed()))))
    try:
        PortFacts.load(changed(**{key: value}), VF)
    except Damaged:
        return
