"""What is written into Open vSwitch's rows of a port that is there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.drivers.ovs.rows import (
    OWNER,
    OvsPortSpec,
    PortVlan,
    mapping,
    ovsdb_map,
    port_vlan,
    update_ops,
)

OURS = st.sampled_from([OWNER, "iface-id", "vm-uuid", "smartvif-vf"])
FOREIGN = st.sampled_from(["ovn-installed", "ovn-installed-ts", "note"])
VALUES = st.sampled_from(["a", "b"])
TAGS = st.none() | st.integers(1, 4095)
SPECS = st.builds(
    OvsPortSpec,
    bridge=st.just("br"),
    name=st.just("p0r0"),
    owner=VALUES,
    type=st.sampled_from(["", "dpdkvhostuserclient"]),
    options=st.dictionaries(st.just("vhost-server-path"), VALUES),
    external_ids=st.dictionaries(st.sampled_from(["iface-id", "vm-uuid", "smartvif-vf"]), VALUES),
    tag=TAGS,
    mtu_request=st.none() | st.integers(68, 9000),
    no_vlan=st.booleans(),
)


def optional(value: object) -> Any:
    return ["set", []] if value is None else value


PORTS = st.builds(
    lambda tag, trunks, mode: {
        "tag": optional(tag),
        "trunks": trunks[0] if len(trunks) == 1 else ["set", trunks],
        "vlan_mode": optional(mode),
        "other_config": ovsdb_map({"tag": "7"}),
    },
    TAGS,
    st.lists(st.integers(0, 4095), max_size=3, unique=True),
    st.sampled_from([None, "access", "trunk", "native-untagged", "dot1q-tunnel"]),
)
INTERFACES = st.builds(
    lambda kind, ids, options, mtu: {
        "type": kind,
        "external_ids": ovsdb_map(ids),
        "options": ovsdb_map(options),
        "mtu_request": optional(mtu),
    },
    st.sampled_from(["", "internal"]),
    st.dictionaries(OURS | FOREIGN, VALUES),
    st.dictionaries(st.sampled_from(["vhost-server-path", "n_rxq"]), VALUES),
    st.none() | st.integers(68, 9000),
)


def applied(ops: list[dict[str, Any]], rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rows after the operations, as RFC 7047 has them (5.2.3, 5.2.4, 5.1)."""
    rows = {table: dict(row) for table, row in rows.items()}
    for op in ops:
        row = rows[op["table"]]
        assert op["where"] == [["name", "==", "p0r0"]]
        row |= op.get("row", {})
        for column, mutator, value in op.get("mutations", ()):
            held = mapping(row[column])
            if mutator == "delete":
                held = {key: there for key, there in held.items() if key not in value[1]}
            else:
                assert mutator == "insert"
                held = {**mapping(value), **held}
            row[column] = ovsdb_map(held)
    return rows


def without(values: Mapping[str, str], keys: set[str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in keys}


@given(SPECS, PORTS, INTERFACES)
def test_only_what_is_ours_is_written(
    spec: OvsPortSpec, port: dict[str, Any], interface: dict[str, Any]
) -> None:
    """Ours is as specified afterwards, all else as it was, and a second time nothing is written."""
    before = {"Port": port, "Interface": interface}
    after = applied(update_ops(spec, port, interface), before)
    ids, options = mapping(after["Interface"]["external_ids"]), after["Interface"]["options"]
    wanted = {**spec.external_ids, OWNER: spec.owner}
    ours = {OWNER, "iface-id", "vm-uuid", "smartvif-vf"}
    assert {key: value for key, value in ids.items() if key in ours} == wanted
    assert without(ids, ours) == without(mapping(interface["external_ids"]), ours)
    assert spec.options.items() <= mapping(options).items()
    assert mapping(options).get("n_rxq") == mapping(interface["options"]).get("n_rxq")
    assert after["Interface"]["type"] == spec.type
    assert after["Interface"]["mtu_request"] == optional(spec.mtu_request)
    if spec.vlan is None:
        assert after["Port"] == port
    else:
        assert port_vlan(after["Port"]).is_as(spec.vlan)
        assert after["Port"]["other_config"] == port["other_config"]
    assert update_ops(spec, after["Port"], after["Interface"]) == []


@pytest.mark.parametrize(
    "changed",
    [
        PortVlan(),
        PortVlan(tag=200),
        PortVlan(tag=4095),
        PortVlan(tag=100, mode="trunk", trunks=(5, 6)),
        PortVlan(tag=100, mode="native-untagged"),
        PortVlan(tag=100, mode="dot1q-tunnel"),
        PortVlan(tag=100, trunks=(5,)),
    ],
)
def test_another_vlan_than_100(changed: PortVlan) -> None:
    """A port with any of these columns is not an access port of VLAN 100."""
    assert not changed.is_as(PortVlan(tag=100))
    assert str(changed) != "100"


def test_an_access_port_that_says_so() -> None:
    """With the mode access the port is what it is without a mode; without a tag it is not."""
    assert PortVlan(tag=100, mode="access").is_as(PortVlan(tag=100))
    assert not PortVlan(mode="access").is_as(PortVlan())


def test_whose_a_vlan_is() -> None:
    """Ours with a tag, and where there must be none; else another program's."""
    spec = OvsPortSpec(bridge="br", name="p0r0", owner="a")
    assert spec.vlan is None
    assert OvsPortSpec(bridge="br", name="p", owner="a", tag=5).vlan == PortVlan(tag=5)
    assert OvsPortSpec(bridge="br", name="p", owner="a", no_vlan=True).vlan == PortVlan()
