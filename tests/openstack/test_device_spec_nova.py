"""Nova's own allow-list beside ours: the same verdict, but for the differences on record.

Nova's real classes run. What they read of sysfs is stood in for by the generated devices, and on
the simulated host by nothing. The options are read by oslo.config, as Nova registers them.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nova import exception
from nova.compute import pci_placement_translator
from nova.conf import CONF
from nova.conf import pci as pci_options
from nova.pci import devspec
from nova.pci import utils as pci_utils
from nova.pci.whitelist import Whitelist
from oslo_config import cfg
from oslo_utils import strutils

from smartvif.choose.allow_list import nova_conf
from smartvif.choose.allow_list.match import Verdict, match_all, warnings
from smartvif.choose.allow_list.spec import DeviceSpec, parse
from smartvif.host import pci_devices
from smartvif.host.pci_devices import PciDevice
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.sim.testing import on_simulated_host

DOC = Path(__file__).parents[2] / "docs" / "reference" / "device-spec.md"
EXAMPLES = 1000
WHERE = "line 1"


def as_nova(device: PciDevice) -> dict[str, Any]:
    """The device as Nova's libvirt driver describes it."""
    described: dict[str, Any] = {
        "vendor_id": device.vendor,
        "product_id": device.product,
        "address": str(device.address),
        "capabilities": {"vpd": {"card_serial_number": device.serial}} if device.serial else {},
    }
    return described if device.parent is None else {**described, "parent_addr": str(device.parent)}


def stand_in(patch: pytest.MonkeyPatch, devices: Sequence[PciDevice]) -> None:
    """Have Nova find these devices where it reads sysfs."""
    at = {str(device.address): device for device in devices}

    def by_ifname(name: str) -> tuple[str | None, bool]:
        for address, device in at.items():
            if name in device.netdevs:
                return address, device.is_pf
        return None, False

    def is_pf(*fields: str) -> bool:
        device = at.get("{}:{}:{}.{}".format(*fields))
        return device is not None and device.is_pf

    # Nova has the text of an address for an interface's PF alone, and not for one that is given.
    for kind in (devspec.PciAddressGlobSpec, devspec.PciAddressRegexSpec):
        patch.setattr(kind, "__str__", devspec.PhysicalPciAddress.__str__)
    patch.setattr(pci_utils, "get_function_by_ifname", by_ifname)
    patch.setattr(pci_utils, "is_physical_function", is_pf)
    patch.setattr(pci_utils, "get_vf_product_id_by_pf_addr", lambda name: at[name].vf_product)
    patch.setattr(
        pci_utils, "get_pci_ids_by_pci_addr", lambda name: (at[name].vendor, at[name].product)
    )


def nova_specs(texts: Sequence[str], *, placement: bool = False) -> Any:
    """Nova's list of these values, examined as when nova-compute starts."""
    CONF.set_override("report_in_placement", placement, "pci")
    try:
        found = Whitelist(list(texts))
    finally:
        CONF.clear_override("report_in_placement", "pci")
    if placement:
        pci_placement_translator.ensure_no_dev_spec_with_devname(found.specs)
    return found


def nova_first(found: Any, device: PciDevice) -> int | None:
    """Which entry Nova decides by; it passes over what it cannot read (nova/pci/manager.py)."""
    try:
        chosen = found.device_assignable(as_nova(device))
    except exception.PciConfigInvalidSpec:
        return None
    return None if chosen is None else found.specs.index(chosen)


def nova_matches(spec: Any, device: PciDevice) -> bool:
    """Whether one entry of Nova's matches."""
    try:
        return bool(spec.match(as_nova(device)))
    except exception.PciConfigInvalidSpec:
        return False


def ours(texts: Sequence[str], *, placement: bool = False) -> tuple[DeviceSpec, ...]:
    """Our list of these values."""
    return tuple(spec for text in texts for spec in parse(text, WHERE, placement=placement))


def pf(bus: int, function: int, **changed: Any) -> PciDevice:
    """A PF of a card, with a netdev."""
    address = PciAddress(0, bus, 0, function)
    device = PciDevice(
        address=address,
        vendor="15b3",
        product="101d",
        is_pf=True,
        vf_product="101e",
        netdevs=(f"p{bus}f{function}",),
    )
    return replace(device, **changed)


def vf(parent: PciDevice, number: int, **changed: Any) -> PciDevice:
    """A VF of it: the first on its bus, the others on the next."""
    bus, slot = parent.address.bus, 1 if number == 0 else 0
    device = PciDevice(
        address=PciAddress(parent.address.domain, bus + (number > 0), slot, number),
        vendor=parent.vendor,
        product=parent.vf_product or "",
        parent=parent.address,
        netdevs=(f"{parent.netdevs[0]}v{number}",) if parent.netdevs else (),
        serial=parent.serial,
    )
    return replace(device, **changed)


GPU = PciDevice(address=PciAddress(0, 0x25, 0, 4), vendor="10de", product="25b6", is_network=False)
DISK = PciDevice(
    address=PciAddress(0x10000, 3, 0, 0), vendor="8086", product="0a54", is_network=False
)
CARD = pf(3, 0, serial="MT2108X00001")
OTHER = pf(0xAF, 1)
HOST = (CARD, vf(CARD, 0), vf(CARD, 1), OTHER, vf(OTHER, 0), vf(OTHER, 2), GPU)


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
    if refusal is not None and refusal.what.startswith("it selects nothing"):
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


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where Nova is wrong: an entry, what Nova does with it, and what is done here.

    Nova raises ``nova_raises``, or takes it and ``nova_is`` holds of its list. Here it is
    ``refused``, or ``warned`` of, in these words; or neither, and it matches ``matches``.
    """

    id: str
    texts: tuple[str, ...]
    nova_raises: type[Exception] | None = None
    nova_is: Callable[[Any], bool] = lambda found: True
    refused: str | None = None
    warned: str | None = None
    matches: tuple[PciDevice, ...] | None = None


def everything(found: Any) -> bool:
    """Whether Nova gives away every device of the host."""
    return all(nova_first(found, device) is not None for device in HOST)


def nothing(found: Any) -> bool:
    """Whether Nova gives away none."""
    return all(nova_first(found, device) is None for device in HOST)


def never_asked_for(tag: str, *asked: str | None) -> Callable[[Any], bool]:
    """Whether Nova matches devices, and no port's request for this tag can have them."""

    def holds(found: Any) -> bool:
        tags = found.specs[0].get_tags()
        wanted = [pci_utils.pci_device_prop_match(tags, [{tag: value}]) for value in asked]
        return not nothing(found) and not any(wanted)

    return holds


def given_without_network(found: Any) -> bool:
    """Whether a port on a tunnelled network can get the GPU."""
    tags = found.specs[nova_first(found, GPU) or 0].get_tags()
    request = [{"physical_network": None}]
    return nova_first(found, GPU) is not None and pci_utils.pci_device_prop_match(tags, request)


def traits_fail(found: Any) -> bool:
    """Whether reporting to Placement fails on the traits."""
    with pytest.raises(AttributeError):
        pci_placement_translator.get_traits(found.specs[0].get_tags()["traits"])
    return True


def entry(**keys: Any) -> tuple[str, ...]:
    """One entry as the value of the option."""
    return (json.dumps(keys),)


REMOTE = entry(address="0000:03:00.0", product_id="101e", remote_managed="true")
DIFFERENCES = (
    Difference(
        id="unknown-key",
        texts=entry(class_id="0x02"),
        nova_is=everything,
        refused="unknown key: 'class_id'",
    ),
    Difference(
        id="no-selector",
        texts=entry(physical_network="physnet1"),
        nova_is=everything,
        refused="it selects nothing",
    ),
    Difference(
        id="devname-form",
        texts=entry(devname=""),
        nova_is=everything,
        refused="not a network interface name",
    ),
    Difference(
        id="id-type",
        texts=entry(vendor_id=5555),
        nova_raises=AttributeError,
        refused="vendor_id 5555 is not text",
    ),
    Difference(
        id="number-form",
        texts=entry(address="0000:-3:00.0"),
        nova_is=nothing,
        refused="is not a hexadecimal number",
    ),
    Difference(
        id="regex-part",
        texts=entry(address={"func": "1"}),
        nova_is=everything,
        refused="an address has no part 'func'",
    ),
    Difference(
        id="regex-type",
        texts=entry(address={"bus": 3}),
        nova_raises=TypeError,
        refused="bus 3 in address is not text",
    ),
    Difference(
        id="address-type",
        texts=entry(address=0),
        nova_is=everything,
        refused="address 0 is neither text nor an object",
    ),
    Difference(
        id="duplicate-key",
        texts=('{"address": "0000:03:00.0", "address": "*"}',),
        nova_is=everything,
        refused="'address' is there twice",
    ),
    Difference(
        id="network-form",
        texts=entry(address="*", physical_network=""),
        nova_is=never_asked_for("physical_network", "physnet1", None),
        refused="physical_network is empty",
    ),
    Difference(
        id="tag-word",
        texts=entry(address="*", trusted=True),
        nova_is=never_asked_for("trusted", "True", "False"),
        refused="trusted is true, which no port asks for",
    ),
    Difference(
        id="tag-type",
        texts=entry(address="*", traits=["HW_NIC_SRIOV"]),
        nova_is=traits_fail,
        refused="traits ['HW_NIC_SRIOV'] is not text",
    ),
    Difference(id="remote-managed-pf", texts=REMOTE, matches=(HOST[1], HOST[2])),
    Difference(id="devname-not-pci", texts=entry(devname="eth0"), matches=()),
    Difference(id="wide-domain", texts=entry(address="*", physical_network="left"), matches=HOST),
    Difference(
        id="regex-prefix",
        texts=entry(address={"bus": "0"}),
        nova_is=lambda found: [nova_first(found, device) for device in HOST[:4]] == [0, 0, 0, None],
        warned="'0' for the bus also matches 00",
    ),
    Difference(
        id="short-id",
        texts=entry(vendor_id="5b3", address="*"),
        nova_is=nothing,
        warned="vendor_id '5b3' is taken for 05b3",
    ),
    Difference(
        id="decides-nothing",
        texts=(*entry(address="*:03:*.*"), *entry(address="0000:03:00.0", product_id="101d")),
        nova_is=lambda found: all(nova_first(found, device) != 1 for device in HOST),
        warned="it decides nothing",
    ),
    Difference(
        id="no-network-card",
        texts=entry(vendor_id="10de"),
        nova_is=given_without_network,
        warned="0000:25:00.4 is no network card",
    ),
)


@pytest.fixture
def standing_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova finds the devices of ``HOST``."""
    stand_in(monkeypatch, HOST)


@pytest.mark.usefixtures("standing_in")
@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.id)
def test_every_difference(difference: Difference) -> None:
    """Each recorded difference is true of Nova and of ours."""
    if difference.nova_raises is None:
        assert difference.nova_is(nova_specs(difference.texts))
    else:
        with pytest.raises(difference.nova_raises):
            nova_specs(difference.texts)
    if difference.refused is not None:
        with pytest.raises(Invalid, match=re.escape(difference.refused)) as caught:
            ours(difference.texts)
        assert caught.value.where == WHERE
        assert caught.value.hint
        return
    specs = ours(difference.texts)
    verdicts = match_all(specs, HOST)
    said = warnings(specs, verdicts)
    assert [difference.warned in each for each in said] == [True] if difference.warned else not said
    if difference.matches is not None:
        matched = [verdict.device for verdict in verdicts if verdict.first is not None]
        assert matched == list(difference.matches)


@pytest.mark.usefixtures("standing_in")
@pytest.mark.parametrize(
    ("text", "nova_says", "refused"),
    [
        ('{"vendor_id": null}', AttributeError, "vendor_id None is not text"),
        ('{"product_id": 4126}', TypeError, "product_id 4126 is not text"),
        ('{"devname": null}', None, "devname None is not text"),
        ('{"devname": 5}', None, "devname 5 is not text"),
        ('{"devname": "a/../b"}', None, "not a network interface name"),
        ('{"vendor_id": "15_b3"}', None, "is not a hexadecimal number"),
        ('{"product_id": "+101e"}', None, "is not a hexadecimal number"),
        ('{"address": {}}', None, "it selects nothing"),
        ('{"address": " "}', None, "it selects nothing"),
        ("{}", None, "it selects nothing"),
        ('{"address": []}', None, r"address \[\] is neither"),
        ('{"address": {"bus": null}}', TypeError, "bus None in address is not text"),
        ('{"address": {"bus": "a{99999999999}"}}', OverflowError, "not a regular expression"),
        ('{"vendor_id": "15b3", "physical_network": 5}', None, "physical_network 5 is not text"),
        ('{"vendor_id": "15b3", "trusted": "yes"}', None, 'trusted is "yes"'),
        ('{"vendor_id": "15b3", "remote_managed": "maybe"}', None, 'remote_managed is "maybe"'),
        ('{"vendor_id": "15b3", "remote_managed": true}', None, "remote_managed is true"),
        ('{"vendor_id": "15b3", "resource_class": 5}', None, "resource_class 5 is not text"),
    ],
)
def test_more_of_the_same(text: str, nova_says: type[Exception] | None, refused: str) -> None:
    """The other forms of the recorded differences are what the page says, too."""
    if nova_says is None:
        nova_specs([text])
    else:
        with pytest.raises(nova_says):
            nova_specs([text])
    with pytest.raises(Invalid, match=refused):
        ours([text])


@on_simulated_host("1x2")
def test_a_remote_pf_and_other_devices_of_sysfs() -> None:
    """Nova reads a file that no kernel has, and takes any device of an interface for a PCI one."""
    remote = entry(address="0000:03:00.0", product_id="5356", remote_managed="true")
    by_name = entry(devname="p0", product_id="5356", remote_managed="true")
    for texts, missing in ((remote, "PciAddressGlobSpec object"), (by_name, "0000:03:00.0")):
        with pytest.raises(exception.PciDeviceNotFoundById, match=missing):
            nova_specs(texts)
    assert not Path("/sys/bus/pci/devices/0000:03:00.0/product").exists()
    devices = [replace(device, serial="1") for device in pci_devices.devices()]
    for texts in (remote, by_name):
        assert [verdict.first for verdict in match_all(ours(texts), devices)] == [None, 0, 0]

    link = Path("/sys/class/net/eth0/device")
    link.parent.mkdir()
    for device in ("virtio0", "10000:03:00.0"):
        link.symlink_to(f"../../../{device}")
        link.resolve().mkdir(parents=True, exist_ok=True)
        with pytest.raises(exception.PciConfigInvalidSpec):
            nova_specs(entry(devname="eth0"))
        link.unlink()
    (spec,) = ours(entry(devname="eth0"))
    reasons = {verdict.reasons[0] for verdict in match_all([spec], devices)}
    assert reasons == {"there is no PCI device with an interface 'eth0'"}


@pytest.mark.usefixtures("standing_in")
def test_a_wide_domain() -> None:
    """Nova passes over a device whose domain has more than four digits; here the reason is told."""
    found = nova_specs(entry(address="*"))
    with pytest.raises(exception.PciConfigInvalidSpec):
        found.device_assignable(as_nova(DISK))
    (verdict,) = match_all(ours(entry(address="*")), [DISK])
    assert verdict.reasons == ("its domain is above ffff, and Nova passes over it",)


def test_the_pages_differences_are_these() -> None:
    """Every difference on the reference page is compared here, and none is compared unsaid."""
    rows = DOC.read_text().split("## Deliberate differences from Nova 34\n")[1]
    ids = re.findall(r"^\| `([a-z-]+)` \|", rows, re.MULTILINE)
    assert sorted(ids) == sorted(difference.id for difference in DIFFERENCES)


def oslo(path: Path) -> tuple[list[str], bool]:
    """The options as Nova gets them from oslo.config."""
    conf = cfg.ConfigOpts()
    pci_options.register_opts(conf)
    conf([], project="nova", default_config_files=[str(path)])
    return conf.pci.device_spec, conf.pci.report_in_placement


LINES = [
    *("[pci]", "[PCI]", "[DEFAULT]", "[default]", "[neutron]", "", "# device_spec = no", "  "),
    *('device_spec = {"a": "b:c=d"}', "device_spec={}", "device_spec : [1]", "device_spec ="),
    *("device_spec = 'quoted'", 'device_spec = "a", "b"', "device_spec = '", "device-spec = x"),
    *("passthrough_whitelist = old", "pci_passthrough_whitelist = older", "other = 5", ";c"),
    *("  continued", "\tmore # no comment", r"device_spec = 0a$ \$x $$y $5", "no option", "= 5"),
    *("report_in_placement = true", "report_in_placement = No", "[broken", "[]", "DEVICE_SPEC=x"),
]


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(LINES), max_size=12))
@pytest.mark.filterwarnings("ignore")
def test_nova_conf(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """The options are those that oslo.config reads, and in its order; or neither reads the file."""
    text = "\n".join(lines)
    path = tmp_path_factory.getbasetemp() / "nova.conf"
    path.write_text(text)
    found, refusal = read_or_refused(text)
    if found is None:
        assert re.fullmatch(r"line \d+", refusal)
        with pytest.raises((cfg.Error, ValueError)):
            oslo(path)
    else:
        assert oslo(path) == ([entry.text for entry in found.entries], found.report_in_placement)


def read_or_refused(text: str) -> tuple[nova_conf.NovaPci | None, str]:
    """What we read, or where we cannot."""
    try:
        return nova_conf.read(text), ""
    except Invalid as error:
        return None, error.where


def test_another_options_value(tmp_path: Path) -> None:
    """oslo.config puts in the value of another option, which is not in this file alone."""
    text = "[pci]\ndevice_spec = a $report_in_placement b\n"
    path = tmp_path / "nova.conf"
    path.write_text(text)
    assert oslo(path)[0] == ["a False b"]
    with pytest.raises(Invalid, match=r"'\$report_in_placement' stands for another option"):
        nova_conf.read(text)


def test_the_letters_of_a_reference() -> None:
    """What oslo.config takes for a reference is what is refused here."""
    assert cfg.ConfigOpts.Template.idpattern == r"[_a-z][\._a-z0-9]*"
    for letter in string.printable:
        text = f"[pci]\ndevice_spec = a${letter}b" if letter not in string.whitespace else "[pci]"
        if letter.isalpha() or letter == "_":
            with pytest.raises(Invalid):
                nova_conf.read(text)
        else:
            nova_conf.read(text)
