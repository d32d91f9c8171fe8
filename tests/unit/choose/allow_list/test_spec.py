"""The allow-list of PCI devices: what an entry says, which devices it is, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from smartvif.choose.allow_list import nova_conf
from smartvif.choose.allow_list import report as allow_list
from smartvif.choose.allow_list.address import address_spec, exactly
from smartvif.choose.allow_list.match import match_all, warnings
from smartvif.choose.allow_list.spec import DeviceSpec, parse
from smartvif.context import settings
from smartvif.host import pci_devices, sriov, vpd
from smartvif.host.pci_devices import PciDevice
from smartvif.model.errors import Invalid, NotFound
from smartvif.model.pci import PciAddress
from smartvif.sim.nic import sysfs
from smartvif.sim.nic.nic import NicLayout

WHERE = "line 7"
PF = PciDevice(
    address=PciAddress.parse("0000:03:00.0"),
    vendor="15b3",
    product="101d",
    is_pf=True,
    vf_product="101e",
    netdevs=("p0", "p0r0"),
    serial="MT2108X00001",
)
VF = PciDevice(
    address=PciAddress.parse("0000:03:01.2"),
    vendor="15b3",
    product="101e",
    parent=PF.address,
    netdevs=("p0v0",),
    serial="MT2108X00001",
)
OTHER_PF = PciDevice(
    address=PciAddress.parse("0000:0a:00.0"),
    vendor="15b3",
    product="101d",
    is_pf=True,
    vf_product="101e",
    netdevs=("p1",),
)
OTHER_VF = PciDevice(
    address=PciAddress.parse("0000:0a:01.2"),
    vendor="15b3",
    product="101e",
    parent=OTHER_PF.address,
)
GPU = PciDevice(
    address=PciAddress.parse("0000:25:00.4"), vendor="10de", product="25b6", is_network=False
)
HOST = (PF, VF, OTHER_PF, OTHER_VF, GPU)


def one(**entry: Any) -> DeviceSpec:
    """The only entry of a list."""
    (spec,) = parse(json.dumps(entry), WHERE)
    return spec


def matched(*specs: DeviceSpec) -> tuple[PciDevice, ...]:
    """The devices of the host that are allowed."""
    return tuple(verdict.device for verdict in match_all(specs, HOST) if verdict.first is not None)


def why_not(spec: DeviceSpec, device: PciDevice) -> str | None:
    """Why the entry does not match one device of the host."""
    (reason,) = (each.reasons[0] for each in match_all([spec], HOST) if each.device == device)
    return reason


def written(path: Path, text: str) -> Path:
    """A configuration file."""
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("entry", "devices"),
    [
        ({"vendor_id": "15b3"}, (PF, VF, OTHER_PF, OTHER_VF)),
        ({"vendor_id": "0x15B3", "product_id": "101E"}, (VF, OTHER_VF)),
        ({"address": "0000:03:00.0"}, (PF, VF)),
        ({"address": "0000:03:00.0", "product_id": "101e"}, (VF,)),
        ({"address": "0:3:0.0", "product_id": "101d"}, (PF,)),
        ({"address": "0000:03:00."}, (PF,)),
        ({"address": "*:03:00.0"}, (PF,)),
        ({"address": "03:"}, (PF, VF)),
        ({"address": ".2"}, (VF, OTHER_VF)),
        ({"address": "*"}, HOST),
        ({"address": {"bus": "0[0-9a]", "function": "2"}}, (VF, OTHER_VF)),
        ({"address": {"domain": "0000", "bus": "03", "slot": "00", "function": "0"}}, (PF, VF)),
        ({"address": {"domain": "0000", "bus": "03", "slot": "00$", "function": "0"}}, (PF,)),
        ({"devname": "p0"}, (PF, VF)),
        ({"devname": "p0r0"}, (PF, VF)),
        ({"devname": "p0v0"}, (VF,)),
        ({"devname": "eth9"}, ()),
        ({"address": "0000:0a:00.0", "remote_managed": "false"}, (OTHER_PF, OTHER_VF)),
        ({"product_id": "101e", "address": "*", "remote_managed": "true"}, (VF,)),
    ],
)
def test_what_an_entry_is(entry: dict[str, Any], devices: tuple[PciDevice, ...]) -> None:
    """An entry is the devices that match all of its selectors; a PF's address its VFs too."""
    assert matched(one(**entry)) == devices


@pytest.mark.parametrize(
    ("entry", "device", "reason"),
    [
        ({"vendor_id": "8086"}, VF, "its vendor is 15b3, not 8086"),
        ({"product_id": "101d"}, VF, "its product is 101e, not 101d"),
        ({"address": "0000:03:00.0"}, OTHER_VF, "it is no VF of 0000:03:00.0"),
        ({"address": "0000:03:00.0"}, OTHER_PF, "its bus is 0a, not 03"),
        ({"devname": "p0"}, OTHER_VF, "it is no VF of 0000:03:00.0"),
        ({"devname": "p0v0"}, PF, "its slot is 00, not 01"),
        ({"address": {"bus": "a"}}, VF, "its bus 03 does not match 'a'"),
        ({"devname": "eth9"}, VF, "there is no PCI device with an interface 'eth9'"),
        (
            {"product_id": "101e", "remote_managed": "true"},
            OTHER_VF,
            "it is remote_managed, and the card shows no serial number",
        ),
        ({"address": "0000:03:00.0"}, VF, None),
    ],
)
def test_why_not(entry: dict[str, Any], device: PciDevice, reason: str | None) -> None:
    """For each device it is said in what it differs from the entry."""
    assert why_not(one(**entry), device) == reason


def test_the_first_decides() -> None:
    """Of several entries that match the first decides; for the others the reason stays unsaid."""
    specs = parse('[{"vendor_id": "10de"}, {"address": "03:"}, {"vendor_id": "15b3"}]', WHERE)
    assert [verdict.first for verdict in match_all(specs, HOST)] == [1, 1, 2, 2, 0]
    assert [spec.where for spec in specs] == [f"{WHERE}, number {number}" for number in (1, 2, 3)]


def test_the_tags() -> None:
    """A tag says yes or no in one way only; a network that is null is told from none."""
    spec = one(
        vendor_id="15b3",
        physical_network=None,
        trusted="True",
        managed="no",
        live_migratable=True,
        resource_class="nic",
    )
    assert spec.tags == (
        ("physical_network", None),
        ("trusted", "True"),
        ("managed", "false"),
        ("live_migratable", "true"),
        ("resource_class", "nic"),
    )
    assert not spec.remote_managed
    assert one(vendor_id="15b3", remote_managed="TRUE").remote_managed
    assert one(vendor_id="15b3", physical_network="left").physical_network == "left"
    assert "physical_network" not in dict(one(vendor_id="15b3").tags)


@pytest.mark.parametrize(
    ("entry", "what", "hint"),
    [
        ("{", "it is not JSON", "like {"),
        ("5", "5 is not an object", "write {"),
        ('["a"]', "'a' is not an object", "write {"),
        ('{"adress": "0000:03:00.0"}', "unknown key: 'adress'", "did you mean 'address'?"),
        ('{"foo": 1}', "unknown key: 'foo'", "known: vendor_id"),
        ('{"vendor_id": "15bx"}', "vendor_id '15bx' is not a hexadecimal number", '"*"'),
        ('{"vendor_id": "115b3"}', "vendor_id '115b3' is too large", "up to ffff"),
        ('{"address": "0:0:0:0.0"}', "has too many parts", "[[[domain:]bus:]slot]"),
        ('{"address": "03:20.0"}', "slot '20' is too large", "[[[domain:]bus:]slot]"),
        ('{"address": "03:00.8"}', "function '8' is too large", "[[[domain:]bus:]slot]"),
        ('{"address": "03:00.[0-3]"}', "not a hexadecimal number", "[[[domain:]bus:]slot]"),
        ('{"address": {"bus": "("}}', "bus '(' in address is not a regular", '".*"'),
        ('{"address": {"func": "1"}}', "an address has no part 'func'", "function"),
        ('{"devname": "p0", "address": "*"}', "both devname and address", "leave one"),
        ('{"devname": "a b"}', "'a b' is not a network interface name", "blanks"),
        ('{"managed": "maybe", "address": "*"}', "'maybe' is not a boolean", '"true"'),
        ('{"one_time_use": "yes", "address": "*"}', "report_in_placement", "leave one_time"),
        ('{"address": "*", "address": "*"}', "'address' is given twice", "the last"),
        ('{"physical_network": null}', "it has no selector", '{"address": "*"}'),
    ],
)
def test_what_is_refused(entry: str, what: str, hint: str) -> None:
    """What cannot be meant is an error, with its place and what to write instead."""
    with pytest.raises(Invalid, match=re.escape(what)) as caught:
        parse(entry, WHERE)
    assert caught.value.where.startswith(WHERE)
    assert hint in caught.value.hint


def test_placement() -> None:
    """What Nova reports to Placement decides what an entry may have."""
    parse('{"address": "*", "one_time_use": "yes"}', WHERE, placement=True)
    with pytest.raises(Invalid, match="devname cannot be used with"):
        parse('{"devname": "p0"}', WHERE, placement=True)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"devname": "eth9"}, "there is no interface 'eth9'"),
        ({"devname": "p0"}, "PF 0000:03:00.0 cannot be remote_managed"),
        ({"address": "0000:03:00.0", "product_id": "101d"}, "PF 0000:03:00.0 cannot be"),
        ({"address": "0000:03:00.0", "product_id": "ffff"}, "neither those of PF 0000:03:00.0"),
        ({"address": "0000:03:00.0", "vendor_id": "8086"}, "neither those of PF 0000:03:00.0"),
    ],
)
def test_what_another_host_cannot_manage(entry: dict[str, Any], what: str) -> None:
    """A PF that another host is to manage is refused with the entry's place; its VFs are not."""
    with pytest.raises(Invalid, match=what) as caught:
        match_all([one(**entry, remote_managed="true")], HOST)
    assert caught.value.where == WHERE
    assert caught.value.hint
    assert matched(one(address="0000:03:00.0", product_id="101e", remote_managed="true")) == (VF,)


def test_warnings() -> None:
    """What is valid and can hardly be meant is said once, with the entry's place."""
    specs = parse(
        json.dumps(
            [
                {"address": {"bus": "0", "slot": "1|0", "function": "2"}},
                {"product_id": "5b3"},
                {"address": "*:03:01.2"},
                {"vendor_id": "10de", "physical_network": None},
            ]
        ),
        WHERE,
    )
    assert warnings(specs, match_all(specs, HOST)) == (
        f"{WHERE}, number 1: '0' for the bus also matches 00, which only begins like that;"
        " for all of it write '0$'",
        f"{WHERE}, number 1: '1|0' for the slot also matches 00, which only begins like that;"
        " for all of it write '(?:1|0)$'",
        f"{WHERE}, number 2: product_id '5b3' is read as 05b3",
        f"{WHERE}, number 3: it decides nothing, earlier entries match all it matches",
        f"{WHERE}, number 4: 0000:25:00.4 is no network card, and without a physical_network Nova"
        " can give it to a port on a tunnelled network",
    )


def test_no_warnings() -> None:
    """What is written out is not warned of."""
    specs = (
        one(address={"bus": "0[0-9]", "function": ".*"}, product_id="101e", physical_network=None),
        one(vendor_id="0x10de", physical_network="left"),
        one(address="*:0a:01.2"),
    )
    assert warnings(specs, match_all(specs, HOST)) == ()


def test_a_mended_expression_is_not_warned_of() -> None:
    """What a warning says to write matches as a whole."""
    for part in ("0", "1|0", "0.?", ""):
        for _ in address_spec({"slot": part}).loose():
            assert address_spec({"slot": f"(?:{part})$"}).loose() == ()


def test_one_address() -> None:
    """The address of a device is that device's alone."""
    spec = exactly(VF.address)
    assert spec.single == str(VF.address)
    assert [each for each in HOST if spec.difference(each.address) is None] == [VF]


NOVA_CONF = """\
[DEFAULT]
debug = true
[pci]
# device_spec = {"no": "comment"}
device_spec = {"address": "*:03:*.*",
    "physical_network": null}
report_in_placement = yes
passthrough_whitelist = [{"vendor_id": "10de"},
  {"vendor_id": "8086"}]

[neutron]
device_spec = {"not": "here"}
[PCI]
device_spec = {"address": {"bus": "0a$", "slot": "$$x"}}
"""


def test_a_nova_conf() -> None:
    """Old names go before new ones; each value has its first line."""
    found = nova_conf.read(NOVA_CONF)
    assert found.report_in_placement
    assert [entry.line for entry in found.entries] == [8, 5, 14]
    assert found.entries[1].text == '{"address": "*:03:*.*",\n"physical_network": null}'
    assert found.entries[2].text == '{"address": {"bus": "0a$", "slot": "$x"}}'


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("[pci]\ndevice_spec\n", "'device_spec' is not an option", 2),
        ("[pci]\n\n  more\n", "it continues nothing", 3),
        ("[pci\n", "is not a section", 1),
        ("debug = true\n", "it is in no section", 1),
        ("[pci]\ndevice_spec = ${my_ip}\n", "stands for another option", 2),
        ("[pci]\nreport_in_placement = maybe\n", "neither true nor false", 2),
    ],
)
def test_a_nova_conf_that_cannot_be_read(text: str, what: str, line: int) -> None:
    """What oslo.config would not read is said with its line."""
    with pytest.raises(Invalid, match=what) as caught:
        nova_conf.read(text)
    assert caught.value.where == f"line {line}"
    assert caught.value.hint


def test_errors_of_a_list_name_file_and_line(tmp_path: Path) -> None:
    """Whatever is wrong in a nova.conf, the file and the line are named."""
    path = tmp_path / "nova.conf"
    for text, where in (
        ('[pci]\n\ndevice_spec = {"a": 1}', f"{path}, line 3"),
        ('[pci]\ndevice_spec = [{"vendor_id": "*"}, {"a": 1}]', f"{path}, line 2, number 2"),
        ("[pci]\nx", f"{path}, line 2"),
        ('[pci]\ndevice_spec = {"devname": "-", "remote_managed": "true"}', f"{path}, line 2"),
    ):
        with pytest.raises(Invalid) as caught:
            allow_list.check(written(path, text), ())
        assert caught.value.where == where
    with pytest.raises(NotFound, match=r"no \[pci\] device_spec") as empty:
        allow_list.check(written(path, "[pci]\n"), ())
    assert empty.value.where == str(path)
    with pytest.raises(Invalid, match="No such file") as absent:
        allow_list.check(tmp_path / "absent", ())
    assert absent.value.where == str(tmp_path / "absent")


def test_the_devices_of_a_host(tmp_path: Path) -> None:
    """Every PCI function is read from sysfs: what it is, whose VF it is, its interfaces."""
    root = tmp_path / "sys"
    sysfs.write_sysfs(NicLayout(pfs=1, vfs=2), root)
    buses = root / "bus/pci/devices"
    gpu = buses / "10000:25:00.4"
    gpu.mkdir()
    for name, text in (("vendor", "0x10de"), ("device", "0x25b6"), ("class", "0x030000")):
        (gpu / name).write_text(f"{text}\n")
    (buses / "0000:99:00.0").mkdir()  # one that is just vanishing
    (buses / "0000:03:00.0" / "vpd").write_bytes(bytes.fromhex("90 0600") + b"SN\x03abc")
    (buses / "0000:03:00.0" / "sriov_vf_device").write_text("5b3\n")
    pf, first, second, other = pci_devices.devices(root, serials=True)
    assert pf == PciDevice(
        address=PciAddress.parse("0000:03:00.0"),
        vendor="fff0",
        product="5350",
        is_pf=True,
        vf_product="05b3",
        netdevs=("p0", "p0r0", "p0r1"),
        serial="abc",
    )
    assert (first.parent, first.product, first.netdevs) == (pf.address, "5356", ("p0v0",))
    assert (first.serial, second.serial, second.is_pf) == ("abc", "abc", False)
    assert other == PciDevice(
        address=PciAddress.parse("10000:25:00.4"), vendor="10de", product="25b6", is_network=False
    )
    assert {device.serial for device in pci_devices.devices(root)} == {None}


@pytest.mark.parametrize(
    ("data", "serial"),
    [
        (b"\x82\x04\x00Card\x90\x0a\x00PN\x01xSN\x03abc\x78", "abc"),
        (b"\x82\x04\x00Card\x78\x90\x06\x00SN\x03abc", None),
        (b"\x09x\x90\x08\x00SN\x05abc  ", "abc"),
        (b"\x90\x04\x00SN\x01 \x78", None),
        (b"\x90\x04\x00PN\x01a\x78", None),
        (b"\x90\xff\xffSN", None),
        (b"\x90", None),
        (b"\xff" * 16, None),
        (b"", None),
    ],
)
def test_a_serial_number(tmp_path: Path, data: bytes, serial: str | None) -> None:
    """The serial number is found wherever the card has it; what is cut off or empty is none."""
    path = tmp_path / "vpd"
    path.write_bytes(data)
    assert vpd.serial(str(path)) == serial
    assert vpd.serial(str(tmp_path / "absent")) is None


def test_what_is_written_allows_the_vfs_and_nothing_else(tmp_path: Path) -> None:
    """The list written for a host allows each VF by its PF's entry, and no PF."""
    sysfs.write_sysfs(NicLayout(pfs=2, vfs=3), tmp_path)
    pfs = sriov.pfs(tmp_path)
    entries = allow_list.generate(pfs)
    assert [entry["address"] for entry in entries] == [str(pf.address) for pf in pfs]
    assert all(entry["physical_network"] is None for entry in entries)
    specs = parse(list(entries), WHERE)
    verdicts = match_all(specs, pci_devices.devices(tmp_path))
    assert {each.device.address: each.first for each in verdicts} == {
        **{pf.address: None for pf in pfs},
        **{vf.address: number for number, pf in enumerate(pfs) for vf in pf.vfs},
    }
    assert warnings(specs, verdicts) == ()


def test_nothing_to_write(tmp_path: Path) -> None:
    """A PF in legacy mode or without VFs gets no entry; where there is no other it is said."""
    sysfs.write_sysfs(NicLayout(pfs=1, vfs=1), tmp_path)
    (tmp_path / "class/net/p0/phys_switch_id").write_text("\n")
    with pytest.raises(NotFound, match="no PF has VFs in switchdev mode") as caught:
        allow_list.generate(sriov.pfs(tmp_path))
    assert caught.value.hint == "PFs: 0000:03:00.0 (legacy, 1 VFs)"
    with pytest.raises(NotFound) as caught:
        allow_list.generate(())
    assert caught.value.hint == "PFs: none"


def test_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of our configuration is a table or JSON, and a wrong one is said with its number."""
    path = tmp_path / "smartvif.toml"
    monkeypatch.setenv("SMARTVIF_CONFIG", str(path))
    entries = '[{ vendor_id = "15b3" }, \'{"devname": "p0", "physical_network": null}\']'
    written(path, f"[pci]\ndevice_spec = {entries}\n")
    first, second = settings.load().pci.device_spec
    assert (first.vendor, first.where) == ("15b3", "[pci] device_spec 1")
    assert (second.devname, second.tags) == ("p0", (("physical_network", None),))
    for text, what, where in (
        ("'x'", "device_spec in [pci] must be a list", str(path)),
        ("[{ vendor = '15b3' }]", "unknown key: 'vendor'", f"{path}, [pci] device_spec 1"),
        ("[{ vendor_id = '*' }, 5]", "5 is not an object", f"{path}, [pci] device_spec 2"),
        ("[{ trusted = 1979-05-27 }]", "trusted is", f"{path}, [pci] device_spec 1"),
    ):
        written(path, f"[pci]\ndevice_spec = {text}\n")
        with pytest.raises(Invalid, match=re.escape(what)) as caught:
            settings.load()
        assert caught.value.where == where
    assert allow_list.rules(()) is None
