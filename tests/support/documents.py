"""The documents that ``smartvif`` prints with ``-f json``: their keys, and what must be in them."""

from __future__ import annotations

from typing import Any

from tests.support.commands import document, smartvif

PORT_KEYS = {
    *("id", "vf", "vif_type", "vm", "mode", "switch", "bridge", "mac", "vlan", "mtu", "pf"),
    *("network", "switch_port", "socket", "simulated", "needs"),
}
STATE_KEYS = {"status", "working", "link_up", "health"}
SHOW_KEYS = {"ovs", "vrouter", "guest", "relay", "relay_statistics", "steps"}
OVS_KEYS = {
    "ofport",
    "error",
    "link_up",
    "tag",
    "trunks",
    "vlan_mode",
    "mtu_request",
    "external_ids",
    "statistics",
}
GUEST_KEYS = {"kind", "source", "live", "persistent", "link_up"}
PF_KEYS = {
    *("address", "netdev", "driver", "simulated", "eswitch", "switch_id", "numa_node"),
    *("num_vfs", "total_vfs", "vfs"),
}
VF_KEYS = {
    *("address", "number", "netdev", "driver", "iommu_group", "representor", "problem", "port"),
    *("free", "held"),
}
MAP_PF_KEYS = {"address", "netdev", "simulated", "free_vfs", "unknown_vfs", "vfs"}
WAY_KEYS = {
    *("pf", "vf", "netdev", "switch_port", "bridge", "network", "vm", "mode", "port", "working"),
    "simulated",
}
SIMULATED = {
    "normal": [],
    "direct": ["vf", "eswitch", "passthrough"],
    "virtio-forwarder": ["vf", "eswitch"],
}


def check_ports(port: dict[str, Any]) -> None:
    """``ports`` lists the one port, and it works."""
    listed = document("ports")
    assert listed["schema"] == "smartvif.ports/1"
    (found,) = listed["ports"]
    assert set(found) == PORT_KEYS | STATE_KEYS
    assert {key: found[key] for key in PORT_KEYS} == port
    assert (found["status"], found["working"], found["health"]) == ("plugged", True, "ok")


def check_show(port: dict[str, Any], *, live: bool) -> None:
    """``show`` knows the switch's side, the guest's and the forwarder's."""
    shown = document("show", port["id"])
    assert shown["schema"] == "smartvif.show/1"
    assert set(shown) == PORT_KEYS | STATE_KEYS | SHOW_KEYS | {"schema"}
    assert (set(shown["ovs"]), shown["vrouter"]) == (OVS_KEYS, None)
    assert shown["ovs"]["external_ids"]["attached-mac"] == port["mac"]
    (interface,) = shown["guest"]
    assert set(interface) == GUEST_KEYS
    assert (interface["live"], interface["persistent"]) == (live, True)
    forwarded = port["mode"] == "virtio-forwarder"
    assert (set(shown["relay"] or {}), bool(port["socket"])) == (
        OVS_KEYS if forwarded else set(),
        forwarded,
    )
    counted = {"to_guest", "from_guest"} if forwarded else set()
    assert set(shown["relay_statistics"] or {}) == counted
    assert [set(step) for step in shown["steps"]] == [{"number", "step", "done"}] * len(
        shown["steps"]
    )
    assert all(step["done"] for step in shown["steps"])


def check_map(port: dict[str, Any]) -> None:
    """``map`` has the port's one way, and one VF less is free."""
    drawn = document("map")
    assert drawn["schema"] == "smartvif.map/1"
    assert set(drawn) == {"schema", "pfs", "ways"}
    (pf,), (way,) = drawn["pfs"], drawn["ways"]
    assert set(pf) == MAP_PF_KEYS
    assert (pf["vfs"], pf["free_vfs"]) == (8, 8 if port["vf"] is None else 7)
    assert set(way) == WAY_KEYS
    for key in ("pf", "vf", "switch_port", "bridge", "network", "vm", "mode", "simulated"):
        assert way[key] == port[key]
    assert (way["port"], way["working"]) == (port["id"], True)


def check_nic_list(port: dict[str, Any]) -> None:
    """``nic list`` names the port as the owner of its VF, and of no other."""
    listed = document("nic", "list")
    assert listed["schema"] == "smartvif.nic-list/1"
    (pf,) = listed["pfs"]
    assert set(pf) == PF_KEYS
    assert [set(vf) for vf in pf["vfs"]] == [VF_KEYS] * 8
    owned = {vf["address"]: vf["port"] for vf in pf["vfs"] if vf["port"]}
    assert owned == ({port["vf"]: port["id"]} if port["vf"] else {})
    held = {vf["address"]: vf["held"] for vf in pf["vfs"] if not vf["free"]}
    assert held == ({port["vf"]: f"in use by port {port['id']}"} if port["vf"] else {})
    assert [vf["representor"] for vf in pf["vfs"]] == [f"p0r{number}" for number in range(8)]


def check_tables(port: dict[str, Any]) -> None:
    """The tables show the same, and say what is simulated."""
    for words in (("ports",), ("show", port["id"]), ("map",)):
        answer = smartvif(*words)
        assert (answer.code, answer.err) == (0, "")
        for value in (port["vm"], port["mode"], port["switch_port"], port["vf"] or ""):
            assert value in answer.out
    assert ("(simulated)" in smartvif("ports").out) == bool(port["simulated"])
    listed = smartvif("nic", "list").out
    assert "(simulated)" in listed
    assert (port["id"] in listed) == (port["vf"] is not None)
