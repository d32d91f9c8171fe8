"""The allow-list on a simulated host: written, explained, and obeyed."""

from __future__ import annotations

import os
from pathlib import Path

from smartvif.choose.allow_list import nova_conf
from smartvif.sim.host import BRIDGE, CONFIG
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import attach, document, guests, refused, smartvif

ASK = ("attach", "--vm", "vm1", "--mode", "direct", "--bridge", BRIDGE)
FIRST_PF = '{"vendor_id": "fff0", "product_id": "5356", "address": "0000:03:00.0"}'
ENTRY_KEYS = {"where", "spec", "matches"}
DEVICE_KEYS = {
    *("address", "vendor_id", "product_id", "pf", "netdevs", "entry", "reasons"),
}


def configure(entries: str) -> str:
    """Our configuration with this allow-list; where it is."""
    path = Path(f"{CONFIG}.allowed")
    path.write_text(f"{CONFIG.read_text()}\n[pci]\ndevice_spec = [{entries}]\n")
    os.environ["SMARTVIF_CONFIG"] = str(path)
    return str(path)


@on_simulated_host("2x2")
def test_what_is_written_is_what_is_allowed() -> None:
    """The list that the command writes, as a nova.conf, allows each VF and no PF."""
    answer = smartvif("device-spec")
    assert (answer.code, answer.err) == (0, "")
    assert len(nova_conf.read(answer.out).entries) == 2
    path = Path("/run/nova.conf")
    path.write_text(answer.out)

    written = document("device-spec")["device_spec"]
    assert [entry["address"] for entry in written] == ["0000:03:00.0", "0000:03:00.1"]
    found = document("device-spec", "--check", str(path))
    assert found["schema"] == "smartvif.device-spec-check/1"
    assert (found["source"], found["warnings"]) == (str(path), [])
    assert [entry["spec"] for entry in found["entries"]] == written
    assert [entry["matches"] for entry in found["entries"]] == [2, 2]
    assert all(entry.keys() == ENTRY_KEYS for entry in found["entries"])
    assert all(device.keys() == DEVICE_KEYS for device in found["devices"])
    allowed = {device["address"]: device["entry"] for device in found["devices"]}
    assert allowed == {
        **{"0000:03:00.0": None, "0000:03:00.1": None},
        **{"0000:04:00.0": "line 2", "0000:04:00.1": "line 2"},
        **{"0000:05:00.0": "line 3", "0000:05:00.1": "line 3"},
    }
    (vf,) = (device for device in found["devices"] if device["address"] == "0000:05:00.1")
    assert (vf["pf"], vf["netdevs"]) == ("0000:03:00.1", ["p1v1"])
    assert vf["reasons"] == [{"where": "line 2", "reason": "it is no VF of 0000:03:00.0"}]

    table = smartvif("device-spec", "--check", str(path), env={"NO_COLOR": "1"})
    assert (table.code, table.err) == (0, "")
    (row,) = (line for line in table.out.splitlines() if line.strip().startswith("0000:05:00.1"))
    assert row.split()[:6] == ["0000:05:00.1", "fff0:5356", "0000:03:00.1", "p1v1", "line", "3"]
    assert row.rstrip().endswith("line 2: it is no VF of 0000:03:00.0")


@on_simulated_host("1x2")
def test_lists_that_are_wrong() -> None:
    """The exit code says whether a list is sound, and the error which line is not, and why."""
    path = Path("/run/nova.conf")

    def check(text: str) -> tuple[str, ...]:
        path.write_text(text)
        return "device-spec", "--check", str(path)

    idle = check('[pci]\ndevice_spec = {"vendor_id": "8086"}\ndevice_spec = {"devname": "p0"}\n')
    found = document(*idle, code=1)
    assert [entry["matches"] for entry in found["entries"]] == [0, 3]
    told = f'error: {path}, line 2: it matches no device: {{"vendor_id": "8086"}}\n'
    warned, idle_error = smartvif(*idle).err.splitlines(keepends=True)
    assert "line 3: it allows PF 0000:03:00.0 itself" in warned
    assert idle_error == told

    twice = document(*check('[pci]\ndevice_spec = [{"address": "*"}, {"devname": "p0v1"}]\n'))
    assert [device["reasons"][0]["reason"] for device in twice["devices"]] == [
        "its bus is 03, not 04",
        "its function is 0, not 1",
        "it matches too, and an earlier one decides",
    ]
    whole_card, idle_entry = twice["warnings"]
    assert whole_card.startswith("line 2, number 1: it allows PF 0000:03:00.0 itself")
    assert idle_entry == (
        "line 2, number 2: it decides nothing, earlier entries match all it matches"
    )

    loose = smartvif(*check('[pci]\ndevice_spec = {"address": {"bus": "0"}}\n'))
    assert loose.code == 0
    assert loose.err.startswith(f"warning: {path}, line 2: '0' for the bus also matches 00")

    wrong = smartvif(*check('[pci]\n\ndevice_spec = {"adress": "*"}\n'))
    refused(wrong, 2, "unknown key: 'adress'")
    assert wrong.err.startswith(f"error: {path}, line 3: ")
    assert wrong.err.endswith("hint: did you mean 'address'?\n")
    refused(smartvif(*check("[pci]\n")), 1, "there is no .pci. device_spec")
    refused(smartvif("device-spec", "--check", "/run/absent.conf"), 2, "No such file")
    refused(smartvif("device-spec", "--check"), 2, "No such file")
    assert "/etc/nova/nova.conf" in smartvif("device-spec", "--check").err


@on_simulated_host("1x0")
def test_a_host_without_vfs() -> None:
    """Where there is nothing to allow, it is said, and no empty list is printed."""
    refused(smartvif("device-spec"), 1, "no PF has VFs in switchdev mode")


@on_simulated_host("2x2", guests=1)
def test_attach_obeys_our_list() -> None:
    """Only VFs of the configured list are given to machines; a wrong list stops everything."""
    guests().wait_ready("vm1")
    second = FIRST_PF.replace("03:00.0", "03:00.1")
    configure(f"'{second}'")
    refused(
        smartvif(*ASK), 1, "none of 4 VFs is suitable"
    )  # it does not say that it is for tunnels
    configure(f"""'{second.replace("}", ', "physical_network": null}')}'""")
    found = document("device-spec", "--check")
    assert (found["source"], found["entries"][0]["where"]) == (None, "[pci] device_spec 1")
    port = attach("vm1", "direct")
    assert port["vf"] == "0000:05:00.0"

    refused(smartvif(*ASK, "--vf", "0000:04:00.0"), 4, "device_spec does not allow it")
    refused(smartvif(*ASK, "--pf", "p0"), 1, "none of 2 VFs is suitable")
    configure("{ vendor_id = '8086' }")
    refused(smartvif(*ASK), 1, "none of 4 VFs is suitable")
    document("device-spec", "--check", code=1)
    path = configure("{ vendor = '8086' }")
    wrong = smartvif(*ASK)
    refused(wrong, 2, "unknown key: 'vendor'")
    assert wrong.err.startswith(f"error: {path}, [pci] device_spec 1: ")
    configure("")
    assert attach("vm1", "direct")["vf"] == "0000:04:00.0"
