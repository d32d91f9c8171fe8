"""Entries that are valid and can hardly be meant: a PF, half of its VFs, null within quotes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from smartvif.choose.allow_list import nova_conf
from smartvif.choose.allow_list.match import match_all, warnings
from smartvif.choose.allow_list.spec import parse
from smartvif.host.pci_devices import PciDevice
from smartvif.model.pci import PciAddress

# A card whose VFs are on the next bus, and one whose VFs are functions of its own slot.
PF = PciDevice(
    address=PciAddress.parse("0000:03:00.0"),
    vendor="fff0",
    product="5046",
    is_pf=True,
    vf_product="5356",
    netdevs=("p0",),
)
NEAR_PF = replace(
    PF, address=PciAddress.parse("0000:5e:00.0"), vendor="15b3", product="101d", vf_product="101e"
)


def vfs(pf: PciDevice, *addresses: str) -> list[PciDevice]:
    return [
        replace(
            pf,
            address=PciAddress.parse(address),
            product=pf.vf_product or pf.product,
            parent=pf.address,
            is_pf=False,
            vf_product=None,
            netdevs=(),
        )
        for address in addresses
    ]


HOST = [
    *(PF, *vfs(PF, *(f"0000:04:00.{number}" for number in range(8)))),
    *(NEAR_PF, *vfs(NEAR_PF, *(f"0000:5e:00.{number}" for number in range(2, 6)))),
]
SELF = "it allows PF 0000:03:00.0 itself"
WHOLE = (
    "a direct-physical port or a PCI alias takes the whole card, and the host loses its uplink;"
    ' for its VFs alone give "address": "0000:03:00.0" with "product_id": "5356"'
)
NULL = "for tunnelled networks write null without quotes"


def said(*entries: str, host: list[PciDevice] = HOST) -> tuple[str, ...]:
    """The warnings of a nova.conf with these entries."""
    text = "[pci]\n" + "".join(f"device_spec = {entry}\n" for entry in entries)
    specs = [
        spec
        for entry in nova_conf.read(text).entries
        for spec in parse(entry.text, f"line {entry.line}")
    ]
    return warnings(specs, match_all(specs, host))


@pytest.mark.parametrize(
    ("entry", "warning"),
    [
        ('{"devname": "p0", "physical_network": null}', f"{SELF}: {WHOLE}"),
        ('{"address": "0000:03:00.0", "physical_network": null}', f"{SELF}: {WHOLE}"),
        (
            '{"address": "0000:03:00.*", "physical_network": null}',
            f"{SELF} and none of its 8 VFs: {WHOLE}",
        ),
        (
            '{"address": {"bus": "04", "function": "[0-3]"}, "physical_network": null}',
            "4 of 8 VFs of 0000:03:00.0 are allowed, and no entry allows 0000:04:00.4 and 3 more",
        ),
        (
            '{"address": "0000:04:00.7", "physical_network": null}',
            "1 of 8 VFs of 0000:03:00.0 are allowed, and no entry allows 0000:04:00.0 and 6 more",
        ),
        (
            '{"address": "0000:5e:00.*", "physical_network": null}',
            "it allows PF 0000:5e:00.0 itself: a direct-physical port or a PCI alias takes the"
            " whole card, and the host loses its uplink; for its VFs alone give"
            ' "address": "0000:5e:00.0" with "product_id": "101e"',
        ),
    ],
)
def test_a_pf_or_half_of_its_vfs(entry: str, warning: str) -> None:
    """An entry that gives away a whole card, or only some VFs of one, is told with its line."""
    assert said(entry) == (f"line 2: {warning}",)


def test_the_halves_of_one_card() -> None:
    """What several entries allow is counted together, and told once if it is not all."""
    low = '{"address": {"bus": "04", "function": "[0-3]"}, "physical_network": "a"}'
    some = '{"address": {"bus": "04", "function": "[4-6]"}, "physical_network": "b"}'
    rest = '{"address": {"bus": "04", "function": "[4-7]"}, "physical_network": "b"}'
    assert said(low, rest) == ()
    assert said(low, some) == (
        "line 2: 7 of 8 VFs of 0000:03:00.0 are allowed, and no entry allows 0000:04:00.7",
    )


def test_a_pf_that_is_meant() -> None:
    """An entry with the PF's own product is for the PF; one with the VFs' allows them alone."""
    assert said('{"product_id": "5046", "physical_network": "a"}') == ()
    assert said('{"address": "0000:03:00.0", "product_id": "5356", "physical_network": null}') == ()
    assert said('{"vendor_id": "8086"}') == ()


def test_a_pf_with_its_vfs_product() -> None:
    """Where PF and VF have one product, it tells them not apart: the addresses of the VFs do."""
    alike = replace(PF, product="5356")
    (warning,) = said('{"product_id": "5356", "physical_network": null}', host=[alike, *HOST[1:]])
    assert warning.startswith(f"line 2: {SELF}: ")
    assert warning.endswith("for its VFs alone give the addresses of its VFs")


@pytest.mark.parametrize("name", ["null", "None", "none", "NULL", "nil", "~", " null "])
def test_null_within_quotes(name: str) -> None:
    """A network that is called by a word for no value is allowed, and told."""
    entry = json.dumps({"product_id": "5356", "physical_network": name})
    (warning,) = said(entry)
    assert warning.startswith(f'line 2: physical_network is the text "{name}"')
    assert NULL in warning
    (spec,) = parse({"product_id": "5356", "physical_network": name}, "[pci] device_spec 1")
    assert spec.physical_network == name
    assert NULL in spec.notes[0]


@pytest.mark.parametrize("name", ["null", '"physnet1"', '"nullnet"', '"none-1"'])
def test_networks_that_are_meant(name: str) -> None:
    """null itself, and any other name, are not warned of."""
    assert said(f'{{"product_id": "5356", "physical_network": {name}}}') == ()
