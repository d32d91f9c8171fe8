"""Nova's own allow-list beside ours: the same verdict, but for the differences on record.

Nova's real classes run. What they read of sysfs is stood in for by the generated devices, and on
the simulated host by nothing. The options are read by oslo.config, as Nova registers them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nova import exception
from oslo_utils import strutils

from smartvif.choose.allow_list.match import Verdict, match_all
from smartvif.host import pci_devices
from smartvif.host.pci_devices import PciDevice
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.sim.testing import on_simulated_host
from tests.support.nova.device_spec import (
    DISK,
    GPU,
    WHERE,
    entry,
    nova_first,
    nova_matches,
    nova_specs,
    ours,
    pf,
    vf,
)
from tests.support.nova.devices import stand_in

EXAMPLES = 1000


@st.composite
def hosts(draw: st.DrawFn) -> tuple[PciDevice, ...]:
    """Some PFs with VFs, some other devices."""
    found: list[PciDevice] = []
    for bus, function in draw(
        st.lists(
            st.tuples(st.sampled_from([0x03, 0x0A, 0xA0]), st.sampled_from([0, 1])),
            min_size=1,
            max_size=3,
            unique=True,
        )
    ):
        # The VFs of two functions must not be at the same addresses.
        card = pf(
            bus,
            function,
            address=PciAddress(function, bus, 0, function),
            vendor=draw(st.sampled_from(["15b3", "8086"])),
            serial=draw(st.sampled_from([None, "MT2108X00001"])),
            netdevs=draw(st.sampled_from([(), (f"p{bus}f{function}", f"p{bus}f{function}r0")])),
        )
        found += [card, *(vf(card, number) for number in range(draw(st.integers(0, 3))))]
    return (*found, *draw(st.lists(st.sampled_from([GPU, DISK]), unique=True)))


def numbers(value: int, digits: int) -> st.SearchStrategy[str]:
    """A number in every spelling that Nova takes."""
    padded = f"{value:0{digits}x}"
    return st.sampled_from(
        [padded, padded.upper(), f"{value:x}", f"0x{padded}", f" {padded}", f"{padded} "]
    )


@st.composite
def globs(draw: st.DrawFn, address: PciAddress) -> str:
    """An address like this one, with parts open or left away, and now and then a bad one."""
    bad = draw(st.integers(0, 24)) == 7
    parts = [
        draw(st.sampled_from(["*", "", " "]) | numbers(value, digits))
        for value, digits in ((address.domain, 4), (address.bus, 2), (address.slot, 2))
    ]
    if bad:
        parts[draw(st.integers(0, 2))] = draw(st.sampled_from(["zz", "[0-3]", "123", "1ffff"]))
    fields = parts[draw(st.integers(0, 3)) if draw(st.booleans()) else 0 :]
    functions = st.sampled_from(["", ".", ".*", ". *"]) | numbers(address.function, 1).map(
        ".{}".format
    )
    tail = draw(st.sampled_from([".8", ". ", ".1.2", ":00", ":00:00"]) if bad else functions)
    return ":".join(fields) + tail


@st.composite
def regexes(draw: st.DrawFn, address: PciAddress) -> dict[str, str]:
    """An address like this one by regular expressions."""
    exact = {
        "domain": f"{address.domain:04x}",
        "bus": f"{address.bus:02x}",
        "slot": f"{address.slot:02x}",
        "function": f"{address.function}",
    }
    if draw(st.integers(0, 3)) == 0:
        return exact
    loose = st.sampled_from(
        [".*", "0", "a", "0[0-9a]$", "[0-7]", "0.", "1|00", "^0", "", "zz", "0A", "0a$", "*", "(0"]
    )
    return {
        name: draw(st.just(text) | loose) for name, text in exact.items() if draw(st.booleans())
    }


@st.composite
def entries(draw: st.DrawFn, host: tuple[PciDevice, ...]) -> dict[str, Any]:
    """An entry that has to do with the host, now and then a bad one."""
    near = draw(st.sampled_from(host))
    target = near.parent if near.parent is not None and draw(st.booleans()) else near.address

    def identifier(text: str) -> str:
        odd = ["*", " *", "ffff", "5b3", "", "zz", "1ffff", "15b3 0"]
        right = numbers(int(text, 16), 4)
        return draw(st.sampled_from(odd) if draw(st.integers(0, 5)) == 3 else right)

    entry: dict[str, Any] = {}
    if draw(st.booleans()):
        entry["vendor_id"] = identifier(near.vendor)
    if draw(st.booleans()):
        entry["product_id"] = identifier(near.product)
    names = [name for device in host for name in device.netdevs]
    where = draw(st.integers(0, 9))
    if where < 4:
        exact = st.just(str(target))
        entry["address"] = draw(exact | globs(target))
    elif where < 6:
        entry["address"] = draw(regexes(target))
    elif where < 8:
        entry["devname"] = draw(st.sampled_from([*names, "eth9"]))
    elif where == 8:
        entry["address"] = draw(st.sampled_from(["", None, {}, "*", "*:*:*.*", 5, ["a"]]))
    if where == 7 and draw(st.booleans()):
        entry["address"] = draw(st.sampled_from(["", str(target)]))
    flags = [True, False, 1, 0, "yes", "No", " on ", "0", None, "maybe", 5, ""]
    tags = {
        "physical_network": st.sampled_from(["physnet1", None]),
        "trusted": st.sampled_from(["true", "False", None]),
        "remote_managed": st.sampled_from(["true", "True", "false", None]),
        "managed": st.sampled_from(flags),
        "live_migratable": st.sampled_from(flags),
        "one_time_use": st.sampled_from(flags),
        "resource_class": st.sampled_from(["CUSTOM_NIC", "nic", "", None]),
        "traits": st.sampled_from(["HW_NIC_SRIOV,mine", "", None]),
    }
    for tag, values in tags.items():
        if draw(st.integers(0, 6)) == 3:
            entry[tag] = draw(values)
    return entry


def test_every_entry_and_device() -> None:
    """For any list and any host the same entry decides, with the same tags, or both refuse it."""
    counts = {"match": 0, "no match": 0, "refused": 0, "nothing selected": 0}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.data(), hosts(), st.booleans())
    def each(data: st.DataObject, host: tuple[PciDevice, ...], placement: bool) -> None:
        texts = [json.dumps(entry) for entry in data.draw(st.lists(entries(host), max_size=4))]
        with pytest.MonkeyPatch.context() as patch:
            stand_in(patch, host)
            good = [text for text in texts if agree(text, host, placement, counts)]
            theirs, specs = nova_specs(good, placement=placement), ours(good, placement=placement)
            for verdict in match_all(specs, host):
                assert verdict.first == nova_first(theirs, verdict.device)

    each()
    assert counts["match"] > 800
    assert counts["no match"] > 2000
    assert counts["refused"] > 100
    assert counts["nothing selected"] > 10


def refused_or_judged(
    text: str, host: tuple[PciDevice, ...], placement: bool
) -> tuple[Invalid | None, tuple[Verdict, ...]]:
    """Why one entry is refused here, or what it says of each device."""
    try:
        return None, match_all(ours([text], placement=placement), host)
    except Invalid as error:
        return error, ()


def agree(text: str, host: tuple[PciDevice, ...], placement: bool, counts: dict[str, int]) -> bool:
    """One entry is the same to both. Returns: whether it is sound."""
    refusal, verdicts = refused_or_judged(text, host, placement)
    if refusal is not None and refusal.what.startswith("it has no selector"):
        (their,) = nova_specs([text], placement=placement).specs
        seen = [each for each in host if each is not DISK]
        if their.get_tags().get("remote_managed") in ("true", "True"):
            seen = [each for each in seen if each.serial]
        assert all(nova_matches(their, device) for device in seen)
        counts["nothing selected"] += 1
        return False
    if refusal is not None:
        assert (refusal.where, bool(refusal.hint)) == (WHERE, True)
        with pytest.raises((exception.NovaException, TypeError)):
            nova_specs([text], placement=placement)
        counts["refused"] += 1
        return False
    (spec,) = ours([text], placement=placement)
    (their,) = nova_specs([text], placement=placement).specs
    assert dict(spec.tags) == their.get_tags()
    for verdict in verdicts:
        matches = nova_matches(their, verdict.device)
        assert (verdict.first == 0) is matches, verdict
        counts["match" if matches else "no match"] += 1
    return True


@pytest.mark.parametrize("tag", ["managed", "live_migratable", "one_time_use"])
def test_every_word_for_yes_and_no(tag: str) -> None:
    """Each word that Nova takes for yes or no is taken, in any case and with blanks around it."""
    words = [*strutils.TRUE_STRINGS, *strutils.FALSE_STRINGS]
    assert len(words) == 12
    for word in words:
        for text in (word, word.upper(), f" {word} "):
            value = entry(address="*", **{tag: text})
            (spec,) = ours(value, placement=True)
            assert dict(spec.tags) == nova_specs(value, placement=True).specs[0].get_tags()


@on_simulated_host("2x4")
def test_on_the_simulated_host() -> None:
    """On a host where nothing is stood in for, Nova finds the same devices for the same entries."""
    devices = pci_devices.devices()
    assert len(devices) == 10
    addresses = [str(device.address) for device in devices]
    names = [name for device in devices for name in device.netdevs]
    entries = [
        *({"address": address} for address in addresses),
        *({"address": address, "product_id": "5356"} for address in addresses),
        *({"devname": name} for name in [*names, "lo", "eth9"]),
        {"address": {"domain": "0000", "bus": "03", "slot": "00", "function": "1"}},
        {"address": {"bus": "0"}},
        {"address": "*:03:00.*"},
        {"vendor_id": "fff0", "product_id": "5356", "physical_network": None},
    ]
    texts = [json.dumps(entry) for entry in entries]
    matches = 0
    for verdict in match_all(ours(texts), devices):
        for spec, reason in zip(nova_specs(texts).specs, verdict.reasons, strict=True):
            assert (reason is None) is nova_matches(spec, verdict.device)
            matches += reason is None
    assert matches > 50
