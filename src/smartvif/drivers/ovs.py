"""Open vSwitch's bridges and ports, through its database.

Each change is one transaction, guarded so that it fails rather than overwrites what another
client did meanwhile, and is believed only when ovs-vswitchd says that it took it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smartvif.drivers.ovsdb import Deadline, Op, Ovsdb, Row
from smartvif.model.errors import Conflict, Failed, NotFound, Refused, TimedOut

_log = logging.getLogger(__name__)

OWNER = "smartvif-owner"
"""The key in ``Interface.external_ids`` that names the VIF whose port this is."""

_REMOVAL = 2.0  # seconds that a removal waits for ovs-vswitchd; the rows are gone already


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge. ``datapath_type`` is ``system`` or ``netdev``."""

    name: str
    datapath_type: str
    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A port as it should be. ``tag`` is the access VLAN; ``mtu_request`` in bytes."""

    bridge: str
    name: str
    owner: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
    tag: int | None = None
    mtu_request: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortState:
    """A port as it is. ``ofport`` is None until ovs-vswitchd has seen it, -1 where it failed."""

    name: str
    bridge: str
    type: str
    ofport: int | None
    error: str | None
    link_up: bool
    tag: int | None
    external_ids: dict[str, str]
    statistics: dict[str, int]

    @property
    def owner(self) -> str | None:
        """The VIF that smartvif made it for, if it did."""
        return self.external_ids.get(OWNER)

    @property
    def failure(self) -> str | None:
        """Why ovs-vswitchd does not have it, or None where it has."""
        if self.error is None and self.ofport is not None and self.ofport >= 0:
            return None
        return self.error or f"it did not take port '{self.name}', and gave no reason"


class OpenVSwitch:
    """One ovs-vswitchd, spoken to through its database at ``db``."""

    def __init__(self, db: Ovsdb, *, timeout: float = 10.0) -> None:
        self.db = db
        self.timeout = timeout

    def deadline(self) -> Deadline:
        """A fresh deadline for one call, ``timeout`` seconds away."""
        return Deadline(self.timeout)

    def bridges(self) -> tuple[Bridge, ...]:
        """All bridges by name.

        Raises: CannotTell.
        """
        columns = ["_uuid", "name", "datapath_type"]
        (found,) = self.db.transact([select("Bridge", [], columns)], self.deadline())
        return tuple(sorted(map(_bridge, found["rows"]), key=lambda bridge: bridge.name))

    def bridge(self, name: str) -> Bridge:
        """The bridge called ``name``.

        Raises: NotFound naming the bridges there are, CannotTell.
        """
        known = {bridge.name: bridge for bridge in self.bridges()}
        if name not in known:
            raise NotFound(f"there is no bridge '{name}'", where="Open vSwitch", hint=_known(known))
        return known[name]

    def ports(self) -> tuple[PortState, ...]:
        """Every port of every bridge, with the interface of the same name.

        Raises: CannotTell.
        """
        reads = [
            select("Bridge", [], ["name", "ports"]),
            select("Port", [], ["_uuid", "name", "tag"]),
            select("Interface", [], _INTERFACE),
        ]
        bridges, ports, interfaces = (
            result["rows"] for result in self.db.transact(reads, self.deadline())
        )
        bridge_of = {uuid: row["name"] for row in bridges for uuid in _set(row["ports"])}
        port_of = {row["name"]: row for row in ports}
        return tuple(
            _port_state(row, port_of[row["name"]], bridge_of[port_of[row["name"]]["_uuid"][1]])
            for row in sorted(interfaces, key=lambda row: str(row["name"]))
            if row["name"] in port_of and port_of[row["name"]]["_uuid"][1] in bridge_of
        )

    def port(self, name: str) -> PortState | None:
        """The port called ``name``, or None.

        Raises: CannotTell.
        """
        deadline = self.deadline()
        port, interface = self._rows(name, deadline)
        if port is None or interface is None:
            return None
        return _port_state(interface, port, self._bridge_of(port, deadline) or "")

    def add_port(self, spec: PortSpec) -> None:
        """Make the port, or bring one that ``spec.owner`` already has to what ``spec`` says.

        When it returns, ovs-vswitchd has the port.
        Raises: NotFound (bridge), Refused (the port is somebody else's, or on another bridge),
        Failed with OVS's words (no such netdev, ...), TimedOut, CannotTell.
        """
        deadline = self.deadline()
        try:
            self.db.commit(_insert_ops(spec), deadline)
        except Conflict:
            self._update_port(spec, deadline)
        self._refuse_failed(spec.name, deadline)

    def remove_port(self, name: str, owner: str) -> None:
        """Take away the port if it is there and ``owner`` has it. Its QoS row goes with it.

        Raises: Failed, CannotTell.
        """
        deadline = self.deadline()
        port, interface = self._rows(name, deadline)
        if port is None:
            return
        if interface is None or _map(interface["external_ids"]).get(OWNER) != owner:
            _log.warning("port %s is not ours any more: left as it is", name)
            return
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
        if qos := _set(port["qos"]):
            ops.append({"op": "delete", "table": "QoS", "where": [_is(["uuid", qos[0]])]})
        self.commit_removal(ops, deadline)

    def commit_removal(self, ops: list[Op], deadline: Deadline) -> None:
        """Commit a removal. An ovs-vswitchd that is down will see it when it comes back.

        Raises: Failed, CannotTell.
        """
        try:
            self.db.commit(ops, Deadline(min(_REMOVAL, deadline.left())))
        except TimedOut:
            _log.warning("ovs-vswitchd has not confirmed a removal: it is down or very busy")

    def _update_port(self, spec: PortSpec, deadline: Deadline) -> None:
        """What to do where the port is there already, or the bridge is not."""
        self.bridge(spec.bridge)
        port, interface = self._rows(spec.name, deadline)
        if port is not None:
            self._refuse_foreign(spec, port, interface, deadline)
            self.db.commit(_update_ops(spec), deadline)
        else:
            self.db.commit(_insert_ops(spec), deadline)

    def _refuse_failed(self, name: str, deadline: Deadline) -> None:
        columns = ["ofport", "error"]
        (found,) = self.db.transact(
            [select("Interface", [["name", "==", name]], columns)], deadline
        )
        ofport, error = (
            (_optional(found["rows"][0][column]) for column in columns)
            if found["rows"]
            else (None, "the interface has vanished")
        )
        if error or ofport is None or ofport < 0:
            raise Failed(
                f"Open vSwitch did not take port '{name}': {error or 'it gave no reason'}",
                where="Open vSwitch",
                hint="ovs-vsctl show, and the log of ovs-vswitchd, say more",
            )

    def _rows(self, name: str, deadline: Deadline) -> tuple[Row | None, Row | None]:
        where = [["name", "==", name]]
        reads = [
            select("Port", where, ["_uuid", "qos", "tag"]),
            select("Interface", where, _INTERFACE),
        ]
        port, interface = (result["rows"] for result in self.db.transact(reads, deadline))
        return (port[0] if port else None), (interface[0] if interface else None)

    def _bridge_of(self, port: Row, deadline: Deadline) -> str | None:
        (found,) = self.db.transact(
            [select("Bridge", [["ports", "includes", port["_uuid"]]], ["name"])], deadline
        )
        return found["rows"][0]["name"] if found["rows"] else None

    def _refuse_foreign(
        self, spec: PortSpec, port: Row, interface: Row | None, deadline: Deadline
    ) -> None:
        bridge = self._bridge_of(port, deadline)
        owner = _map(interface["external_ids"]).get(OWNER) if interface else None
        if bridge == spec.bridge and owner == spec.owner:
            return
        what = f"port '{spec.name}' is already on bridge '{bridge}'"
        if owner != spec.owner:
            what += f" and belongs to {owner or 'something else'}"
        raise Refused(
            what,
            where=f"bridge {spec.bridge}",
            hint=f"if nothing uses it: ovs-vsctl del-port {spec.name}",
        )


_INTERFACE = ["name", "type", "ofport", "error", "link_state", "external_ids", "statistics"]


def select(table: str, where: list[Any], columns: list[str]) -> Op:
    """An OVSDB select (RFC 7047, 5.2.2)."""
    return {"op": "select", "table": table, "where": where, "columns": columns}


def interface_row(spec: PortSpec) -> Row:
    """The Interface row that ``spec`` asks for, without its immutable name."""
    row: Row = {
        "type": spec.type,
        "options": ovsdb_map(spec.options),
        "external_ids": ovsdb_map({**spec.external_ids, OWNER: spec.owner}),
    }
    if spec.mtu_request is not None:
        row["mtu_request"] = spec.mtu_request
    return row


def ovsdb_map(values: Mapping[str, str]) -> list[Any]:
    """A map as OVSDB writes it (RFC 7047, 5.1)."""
    return ["map", [[key, value] for key, value in values.items()]]


def _port_row(spec: PortSpec) -> Row:
    return {"tag": ["set", []] if spec.tag is None else spec.tag}


def _insert_ops(spec: PortSpec) -> list[Op]:
    """One transaction that holds only if the bridge is there and the port is not."""
    port = {
        **_port_row(spec),
        "name": spec.name,
        "interfaces": ["named-uuid", "interface"],
    }
    ops = [
        _wait("Bridge", spec.bridge, [{"name": spec.bridge}]),
        _wait("Port", spec.name, []),
        insert("Interface", {"name": spec.name, **interface_row(spec)}, "interface"),
    ]
    if not spec.type:
        # On a kernel netdev ovs-vswitchd replaces the queueing discipline, and with it the limits
        # that libvirt sets, unless told not to (ovs-vswitchd.conf.db(5), QoS "linux-noop").
        ops.append(insert("QoS", {"type": "linux-noop"}, "qos"))
        port["qos"] = ["named-uuid", "qos"]
    ops += [
        insert("Port", port, "port"),
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", spec.bridge]],
            "mutations": [["ports", "insert", ["named-uuid", "port"]]],
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


def _update_ops(spec: PortSpec) -> list[Op]:
    where = [["name", "==", spec.name]]
    return [
        {"op": "update", "table": "Interface", "where": where, "row": interface_row(spec)},
        {"op": "update", "table": "Port", "where": where, "row": _port_row(spec)},
    ]


def insert(table: str, row: Row, name: str) -> Op:
    """An OVSDB insert whose row others in the transaction call ``name`` (RFC 7047, 5.2.1)."""
    return {"op": "insert", "table": table, "row": row, "uuid-name": name}


def _is(uuid: list[str]) -> list[Any]:
    return ["_uuid", "==", uuid]


def _port_state(interface: Row, port: Row, bridge: str) -> PortState:
    return PortState(
        name=interface["name"],
        bridge=bridge,
        type=interface["type"],
        ofport=_optional(interface["ofport"]),
        error=_optional(interface["error"]) or None,
        link_up=interface["link_state"] == "up",
        tag=_optional(port["tag"]),
        external_ids=_map(interface["external_ids"]),
        statistics=_map(interface["statistics"]),
    )


def _bridge(row: Row) -> Bridge:
    # An empty datapath_type means "system" (ovs-vswitchd.conf.db(5), Bridge).
    return Bridge(
        name=row["name"], datapath_type=row["datapath_type"] or "system", uuid=row["_uuid"][1]
    )


def _known(names: Mapping[str, object]) -> str:
    return "there are: " + ", ".join(sorted(names)) if names else "there are none at all"


def _optional(value: Any) -> Any:
    """A column with at most one value; OVSDB writes none of them as an empty set."""
    return None if isinstance(value, list) and value[0] == "set" else value


def _set(value: Any) -> list[str]:
    """The UUIDs in a column that holds any number of them; one alone is written without a set."""
    values = value[1] if value[0] == "set" else [value]
    return [uuid for _, uuid in values]


def _map(value: Any) -> dict[str, Any]:
    return dict(value[1])
