"""Where our allow-list is deliberately not Nova's: each difference is true of both."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from nova import exception
from nova.compute import pci_placement_translator
from nova.pci import utils as pci_utils

from smartvif.choose.allow_list.match import match_all, warnings
from smartvif.host import pci_devices
from smartvif.host.pci_devices import PciDevice
from smartvif.model.errors import Invalid
from smartvif.sim.testing import on_simulated_host
from tests.support.checkout import CHECKOUT
from tests.support.nova.device_spec import (
    DISK,
    GPU,
    HOST,
    WHERE,
    entry,
    nova_first,
    nova_specs,
    ours,
)
from tests.support.nova.devices import as_nova, stand_in

DOC = CHECKOUT / "docs" / "reference" / "device-spec.md"


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
        refused="it has no selector",
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
        refused="'address' is given twice",
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
        refused="trusted is true, which no port requests",
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
        warned="vendor_id '5b3' is read as 05b3",
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
    Difference(
        id="whole-card",
        texts=entry(address="0000:03:00.0", physical_network=None),
        nova_is=lambda found: nova_first(found, HOST[0]) == 0,
        warned="it allows PF 0000:03:00.0 itself",
    ),
    Difference(
        id="part-of-the-vfs",
        texts=entry(address=str(HOST[1].address), physical_network=None),
        nova_is=lambda found: [nova_first(found, device) for device in HOST[1:3]] == [0, None],
        warned="1 of 2 VFs of 0000:03:00.0 are allowed",
    ),
    Difference(
        id="null-in-quotes",
        texts=entry(address="*", physical_network="null"),
        nova_is=never_asked_for("physical_network", "physnet1", None),
        warned='physical_network is the text "null"',
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
    if difference.warned is not None:
        said = warnings(specs, verdicts)
        assert len([each for each in said if difference.warned in each]) == 1
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
        ('{"address": {}}', None, "it has no selector"),
        ('{"address": " "}', None, "it has no selector"),
        ("{}", None, "it has no selector"),
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
