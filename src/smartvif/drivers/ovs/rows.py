"""Open vSwitch's rows as values, and values as operations on its database.

The columns are those of ovs-vswitchd.conf.db(5), their notation that of RFC 7047.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smartvif.drivers.ovs.client import Op, Row

OWNER = "smartvif-owner"
"""The key in ``Interface.external_ids`` that names the VIF whose port this is."""

INTERFACE_COLUMNS = [
    "name",
    "type",
    "ofport",
    "error",
    "link_state",
    "external_ids",
    "options",
    "mtu_request",
    "statistics",
]
SERVER_PATH = "vhost-server-path"
"""The option of a dpdkvhostuserclient port: the socket that the guest serves."""
PORT_COLUMNS = ["_uuid", "name", "qos", "tag", "trunks", "vlan_mode"]

_OUR_IDS = (OWNER, "iface-id", "iface-status", "attached-mac", "vm-uuid", "smartvif-vf")
"""The keys of ``Interface.external_ids`` that are ours to set; others are other programs'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsBridge:
    """A bridge. ``datapath_type`` is ``system`` or ``netdev``."""

    name: str
    datapath_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortVlan:
    """The columns that say together which VLANs a port is in.

    Without ``mode`` a port with a ``tag`` is an access port, and one without it a trunk port, of
    all VLANs if it has no ``trunks`` (ovs-vswitchd.conf.db(5), Port).
    """

    tag: int | None = None
    trunks: tuple[int, ...] = ()
    mode: str | None = None

    def is_as(self, wanted: PortVlan) -> bool:
        """Whether the port is in the same VLANs: an access port may say that it is one."""
        says = None if self.mode == "access" and self.tag is not None else self.mode
        return (self.tag, self.trunks, says) == (wanted.tag, wanted.trunks, wanted.mode)

    def __str__(self) -> str:
        words = [] if self.tag is None else [str(self.tag)]
        words += [f"trunk of {', '.join(map(str, self.trunks))}"] if self.trunks else []
        words += [f"vlan_mode {self.mode}"] if self.mode else []
        return ", ".join(words) or "none"

    def row(self) -> Row:
        """The columns."""
        return {
            "tag": _optional(self.tag),
            "trunks": ["set", list(self.trunks)],
            "vlan_mode": _optional(self.mode),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsPortSpec:
    """A port as it should be. ``tag`` is the access VLAN; ``mtu_request`` in bytes.

    Where ``tag`` is None, the port's VLAN is another program's, as that of Neutron's agent is, and
    is neither set nor judged; with ``no_vlan`` it must have none. The netdev of an ``awaited`` port
    may come later, and go and come again.
    """

    bridge: str
    name: str
    owner: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
    tag: int | None = None
    mtu_request: int | None = None
    awaited: bool = False
    no_vlan: bool = False

    @property
    def vlan(self) -> PortVlan | None:
        """What the port's VLAN must be; None where it is another program's."""
        return PortVlan(tag=self.tag) if self.tag is not None or self.no_vlan else None

    def may_fail_with(self, error: str | None) -> bool:
        """Whether ``error`` only reports that an awaited netdev is not there yet.

        OVS reads the port again when it appears (vswitchd/bridge.c, iface_do_create).
        """
        absent = f"could not open network device {self.name} (No such device)"
        return self.awaited and error == absent


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsPortState:
    """A port as it is. ``ofport`` is None until ovs-vswitchd has seen it, -1 where it failed."""

    name: str
    bridge: str
    type: str
    ofport: int | None
    error: str | None
    link_up: bool
    vlan: PortVlan
    mtu_request: int | None
    external_ids: dict[str, str]
    statistics: dict[str, int]

    simulated = False

    @property
    def owner(self) -> str | None:
        """The VIF that smartvif made it for, if it did."""
        return self.external_ids.get(OWNER)

    @property
    def failure(self) -> str | None:
        """Why ovs-vswitchd does not have it; None where it has."""
        if self.error is None and self.ofport is not None and self.ofport >= 0:
            return None
        return self.error or f"it did not take port '{self.name}', and gave no reason"

    def as_json(self) -> dict[str, object]:
        """All that is shown of it, with stable keys; documented in docs/reference/cli.md."""
        return {
            "ofport": self.ofport,
            "error": self.error,
            "link_up": self.link_up,
            "tag": self.vlan.tag,
            "trunks": list(self.vlan.trunks),
            "vlan_mode": self.vlan.mode,
            "mtu_request": self.mtu_request,
            "external_ids": self.external_ids,
            "statistics": self.statistics,
        }


def select(table: str, where: list[Any], columns: list[str]) -> Op:
    """An OVSDB select (RFC 7047, 5.2.2)."""
    return {"op": "select", "table": table, "where": where, "columns": columns}


def interface_row(spec: OvsPortSpec) -> Row:
    """The Interface row that ``spec`` asks for, without its immutable name."""
    row: Row = {
        "type": spec.type,
        "options": ovsdb_map(spec.options),
        "external_ids": ovsdb_map({**spec.external_ids, OWNER: spec.owner}),
    }
    if spec.mtu_request is not None:
        row["mtu_request"] = spec.mtu_request
    return row


def _optional(value: object) -> Any:
    """A column with at most one value, as OVSDB writes it."""
    return ["set", []] if value is None else value


def ovsdb_map(values: Mapping[str, str]) -> list[Any]:
    """A map as OVSDB writes it (RFC 7047, 5.1)."""
    return ["map", [[key, value] for key, value in values.items()]]


def insert_ops(spec: OvsPortSpec, number: int = 0) -> list[Op]:
    """Add a port; holds only if the bridge is there and the port is not.

    ``number`` distinguishes several in one transaction.
    """
    port = {
        **(spec.vlan.row() if spec.vlan is not None else {}),
        "name": spec.name,
        "interfaces": ["named-uuid", f"interface{number}"],
    }
    ops = [
        _wait("Bridge", spec.bridge, [{"name": spec.bridge}]),
        _wait("Port", spec.name, []),
        insert("Interface", {"name": spec.name, **interface_row(spec)}, f"interface{number}"),
    ]
    if not spec.type:
        # On a kernel netdev ovs-vswitchd replaces the queueing discipline, and with it the limits
        # that libvirt sets, unless told not to (ovs-vswitchd.conf.db(5), QoS "linux-noop").
        ops.append(insert("QoS", {"type": "linux-noop"}, f"qos{number}"))
        port["qos"] = ["named-uuid", f"qos{number}"]
    ops += [
        insert("Port", port, f"port{number}"),
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", spec.bridge]],
            "mutations": [["ports", "insert", ["named-uuid", f"port{number}"]]],
        },
    ]
    return ops


def _wait(table: str, name: str, rows: list[Row]) -> Op:
    """Hold only if the table's rows called ``name`` are these (RFC 7047, 5.2.6)."""
    return {
        "op": "wait",
        "table": table,
        "where": [["name", "==", name]],
        "columns": ["name"],
        "until": "==",
        "rows": rows,
        "timeout": 0,
    }


def update_ops(spec: OvsPortSpec, port: Row, interface: Row) -> list[Op]:
    """Change what differs of ours in a port's two rows; other keys and columns stay as they are."""
    row: Row = {}
    if interface["type"] != spec.type:
        row["type"] = spec.type
    if optional(interface["mtu_request"]) != spec.mtu_request:
        row["mtu_request"] = _optional(spec.mtu_request)
    ops = [_update("Interface", spec.name, row)] if row else []
    ids = {**spec.external_ids, OWNER: spec.owner}
    for column, values, ours in (("external_ids", ids, _OUR_IDS), ("options", spec.options, ())):
        ops += _merge(spec.name, column, mapping(interface[column]), values, ours)
    if spec.vlan is not None and not port_vlan(port).is_as(spec.vlan):
        ops.append(_update("Port", spec.name, spec.vlan.row()))
    return ops


def _update(table: str, name: str, row: Row) -> Op:
    return {"op": "update", "table": table, "where": [["name", "==", name]], "row": row}


def _merge(
    name: str,
    column: str,
    there: Mapping[str, str],
    values: Mapping[str, str],
    ours: Sequence[str],
) -> list[Op]:
    """Have a map of the Interface row hold ``values``, of the keys that are ``ours`` no others.

    Keys are deleted before they are inserted: insert leaves a key that is there (RFC 7047, 5.1).
    """
    ours = sorted({*ours, *values})
    if {key: there[key] for key in ours if key in there} == dict(values):
        return []
    mutations = [[column, "delete", ["set", ours]], [column, "insert", ovsdb_map(values)]]
    where = [["name", "==", name]]
    return [{"op": "mutate", "table": "Interface", "where": where, "mutations": mutations}]


def insert(table: str, row: Row, name: str) -> Op:
    """An OVSDB insert whose row others in the transaction call ``name`` (RFC 7047, 5.2.1)."""
    return {"op": "insert", "table": table, "row": row, "uuid-name": name}


def removal_ops(port: Row) -> list[Op]:
    """Remove the port of that Port row, and its QoS row, which OVS does not garbage-collect."""
    uuid = port["_uuid"]
    ops: list[Op] = [
        {"op": "update", "table": "Port", "where": [_is(uuid)], "row": {"qos": ["set", []]}},
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["ports", "includes", uuid]],
            "mutations": [["ports", "delete", uuid]],
        },
    ]
    for qos in uuids(port["qos"]):
        ops.append({"op": "delete", "table": "QoS", "where": [_is(["uuid", qos])]})
    return ops


def bridge_ops(row: Row, interfaces: Sequence[Row]) -> list[Op]:
    """Add the bridge of that Bridge row, with a port of the same name for each Interface row."""
    ops: list[Op] = []
    for number, interface in enumerate(interfaces):
        ops.append(insert("Interface", interface, f"interface{number}"))
        port = {"name": interface["name"], "interfaces": ["named-uuid", f"interface{number}"]}
        ops.append(insert("Port", port, f"port{number}"))
    ports = ["set", [["named-uuid", f"port{number}"] for number in range(len(interfaces))]]
    ops.append(insert("Bridge", {**row, "ports": ports}, "bridge"))
    ops.append(
        {
            "op": "mutate",
            "table": "Open_vSwitch",
            "where": [],
            "mutations": [["bridges", "insert", ["named-uuid", "bridge"]]],
        }
    )
    return ops


def _is(uuid: list[str]) -> list[Any]:
    return ["_uuid", "==", uuid]


def port_state(interface: Row, port: Row, bridge: str) -> OvsPortState:
    """An Interface row and the Port row of the same name."""
    return OvsPortState(
        name=interface["name"],
        bridge=bridge,
        type=interface["type"],
        ofport=optional(interface["ofport"]),
        error=optional(interface["error"]) or None,
        link_up=interface["link_state"] == "up",
        vlan=port_vlan(port),
        mtu_request=optional(interface["mtu_request"]),
        external_ids=mapping(interface["external_ids"]),
        statistics=mapping(interface["statistics"]),
    )


def port_vlan(port: Row) -> PortVlan:
    """The VLANs of a Port row."""
    return PortVlan(
        tag=optional(port["tag"]),
        trunks=tuple(sorted(_values(port["trunks"]))),
        mode=optional(port["vlan_mode"]),
    )


def bridge_value(row: Row) -> OvsBridge:
    """A Bridge row."""
    # An empty datapath_type means "system" (ovs-vswitchd.conf.db(5), Bridge).
    return OvsBridge(name=row["name"], datapath_type=row["datapath_type"] or "system")


def optional(value: Any) -> Any:
    """A column with at most one value; OVSDB writes none of them as an empty set."""
    return None if isinstance(value, list) and value[0] == "set" else value


def _values(column: Any) -> list[Any]:
    """What a column of any number of values has; one alone is written without a set."""
    return list(column[1]) if isinstance(column, list) and column[0] == "set" else [column]


def uuids(value: Any) -> list[str]:
    """The UUIDs in a column that holds any number of them."""
    return [uuid for _, uuid in _values(value)]


def mapping(value: Any) -> dict[str, Any]:
    """A column that holds a map."""
    return dict(value[1])
