"""Open vSwitch's bridges and ports, through its database.

Each change is guarded, so that it fails rather than overwrites what another client did meanwhile,
and counts as done only when ovs-vswitchd confirms it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from itertools import chain
from typing import ClassVar

from smartvif.drivers.ovs.batching import Batcher
from smartvif.drivers.ovs.client import Op, Ovsdb, Row
from smartvif.drivers.ovs.rows import (
    INTERFACE_COLUMNS,
    OWNER,
    PORT_COLUMNS,
    OvsBridge,
    OvsPortSpec,
    OvsPortState,
    bridge_value,
    insert_ops,
    mapping,
    optional,
    ovsdb_map,
    port_state,
    removal_ops,
    select,
    update_ops,
    uuids,
)
from smartvif.model.deadline import Deadline
from smartvif.model.errors import (
    CannotTell,
    Failed,
    NotFound,
    Refused,
    SmartvifError,
    TimedOut,
)
from smartvif.model.known import Known, Present

_log = logging.getLogger(__name__)

_REMOVAL = 2.0  # seconds that a removal waits for ovs-vswitchd; the rows are gone already


class OpenVSwitch:
    """One ovs-vswitchd, by way of its database at ``db``."""

    NAME: ClassVar[str] = "ovs"
    TITLE: ClassVar[str] = "Open vSwitch"

    def __init__(self, db: Ovsdb, *, timeout: float = 10.0) -> None:
        self.db = db
        self.timeout = timeout
        self._adding = Batcher(self._add_ports)

    def deadline(self) -> Deadline:
        """A fresh deadline for one call, ``timeout`` seconds away."""
        return Deadline(self.timeout)

    def check_alive(self) -> None:
        """Check that ovs-vswitchd is at work: what it wrote to the database outlives it.

        Raises: CannotTell.
        """
        try:
            self.db.commit([], Deadline(min(_REMOVAL, self.timeout)))
        except TimedOut as error:
            raise CannotTell(error.what, where=error.where, hint=error.hint) from error

    def bridges(self) -> tuple[OvsBridge, ...]:
        """All bridges by name.

        Raises: CannotTell.
        """
        columns = ["name", "datapath_type"]
        (found,) = self.db.transact([select("Bridge", [], columns)], self.deadline())
        return tuple(sorted(map(bridge_value, found["rows"]), key=lambda bridge: bridge.name))

    def bridge(self, name: str) -> OvsBridge:
        """The bridge called ``name``.

        Raises: NotFound naming the bridges there are, CannotTell.
        """
        return _bridge_of_name(name, self.bridges())

    def bridge_and_netdevs(self, name: str) -> tuple[OvsBridge, dict[str, str]]:
        """The bridge called ``name``, and ``netdevs``, by one transaction.

        Raises: NotFound naming the bridges there are, CannotTell.
        """
        reads = [
            select("Bridge", [], ["name", "datapath_type", "ports"]),
            select("Port", [], ["_uuid", "name"]),
            select("Interface", [], ["name"]),
        ]
        bridges, ports, interfaces = (
            result["rows"] for result in self.db.transact(reads, self.deadline())
        )
        found = sorted(map(bridge_value, bridges), key=lambda bridge: bridge.name)
        bridge_of = {uuid: row["name"] for row in bridges for uuid in uuids(row["ports"])}
        port_of = {row["name"]: bridge_of.get(row["_uuid"][1]) for row in ports}
        on = {row["name"]: port_of.get(row["name"]) for row in interfaces}
        netdevs = {port: _place(bridge) for port, bridge in on.items() if bridge is not None}
        return _bridge_of_name(name, found), netdevs

    def ports(self) -> tuple[OvsPortState, ...]:
        """Every port of every bridge, with the interface of the same name.

        Raises: CannotTell.
        """
        reads = [
            select("Bridge", [], ["name", "ports"]),
            select("Port", [], PORT_COLUMNS),
            select("Interface", [], INTERFACE_COLUMNS),
        ]
        bridges, ports, interfaces = (
            result["rows"] for result in self.db.transact(reads, self.deadline())
        )
        bridge_of = {uuid: row["name"] for row in bridges for uuid in uuids(row["ports"])}
        port_of = {row["name"]: row for row in ports}
        return tuple(
            port_state(row, port_of[row["name"]], bridge_of[port_of[row["name"]]["_uuid"][1]])
            for row in sorted(interfaces, key=lambda row: str(row["name"]))
            if row["name"] in port_of and port_of[row["name"]]["_uuid"][1] in bridge_of
        )

    def port(self, name: str) -> OvsPortState | None:
        """The port called ``name``, or None.

        Raises: CannotTell.
        """
        deadline = self.deadline()
        port, interface = self._rows(name, deadline)
        if port is None or interface is None:
            return None
        return port_state(interface, port, self._bridge_of(port, deadline) or "")

    def read_ports(self, keys: Collection[str]) -> dict[str, Known[OvsPortState]]:
        """The ports of those names, in one transaction.

        Raises: CannotTell, also where ovs-vswitchd is not at work.
        """
        self.check_alive()
        return {port.name: Present(port) for port in self.ports() if port.name in keys}

    def netdevs(self) -> dict[str, str]:
        """The bridge that each port is on, by the port's name, which is its netdev's.

        Raises: CannotTell.
        """
        return {port.name: _place(port.bridge) for port in self.ports()}

    def simulated(self) -> bool:
        """Never: Open vSwitch is real, also on a simulated host."""
        return False

    def remove_owned(self, owner: str) -> None:
        """Remove all ports that ``owner`` has.

        Raises: Failed, CannotTell.
        """
        for name in self.owned_by(owner):
            self.remove_port(name, owner)

    def owned_by(self, owner: str) -> tuple[str, ...]:
        """The names of all ports that ``owner`` has.

        Raises: CannotTell.
        """
        where = [["external_ids", "includes", ovsdb_map({OWNER: owner})]]
        (found,) = self.db.transact([select("Interface", where, ["name"])], self.deadline())
        return tuple(sorted(row["name"] for row in found["rows"]))

    def add_port(self, spec: OvsPortSpec) -> None:
        """Add the port, or change one that ``spec.owner`` already has to what ``spec`` says.

        When it returns, ovs-vswitchd has the port; or waits for its netdev, where that is awaited.
        Raises: NotFound (bridge), Refused (the port is another owner's, or on another bridge),
        Failed with OVS's words (no such netdev, ...), TimedOut, CannotTell.
        """
        self._adding.submit(spec, self.deadline())

    def remove_port(self, name: str, owner: str) -> None:
        """Remove the port, with its QoS row, if ``owner`` has it. Idempotent.

        Raises: Failed, CannotTell.
        """
        deadline = self.deadline()
        port, interface = self._rows(name, deadline)
        if port is None:
            return
        if interface is None or mapping(interface["external_ids"]).get(OWNER) != owner:
            _log.warning("port %s is not ours any more: left as it is", name)
            return
        self.commit_removal(removal_ops(port), deadline)

    def commit_removal(self, ops: list[Op], deadline: Deadline) -> None:
        """Commit a removal. An ovs-vswitchd that is down will see it when it comes back.

        Raises: Failed, CannotTell.
        """
        try:
            self.db.commit(ops, Deadline(min(_REMOVAL, deadline.left())))
        except TimedOut:
            _log.warning("ovs-vswitchd has not confirmed a removal: it is down or very busy")

    def _add_ports(
        self, specs: Sequence[OvsPortSpec], deadline: Deadline
    ) -> Sequence[SmartvifError | None]:
        """Add ports in one transaction, or, where it fails, one after the other."""
        try:
            inserts = (insert_ops(spec, number) for number, spec in enumerate(specs))
            self.db.commit(list(chain.from_iterable(inserts)), deadline)
        except TimedOut:
            raise
        except Failed:  # the database refused: the port exists, or the bridge does not
            if len(specs) > 1:
                return [self._add_ports([spec], deadline)[0] for spec in specs]
            try:
                self._update_port(specs[0], deadline)
            except SmartvifError as error:
                return [error]
        return self._failures(specs, deadline)

    def _update_port(self, spec: OvsPortSpec, deadline: Deadline) -> None:
        """Change what differs of a port that exists; raise the error where the bridge does not.

        Where nothing differs, ovs-vswitchd is only asked to look at its ports again.
        """
        self.bridge(spec.bridge)
        port, interface = self._rows(spec.name, deadline)
        if port is None:
            self.db.commit(insert_ops(spec), deadline)
            return
        self._refuse_foreign(spec, port, interface, deadline)
        assert interface is not None  # it has an owner
        self.db.commit(update_ops(spec, port, interface), deadline)

    def _failures(
        self, specs: Sequence[OvsPortSpec], deadline: Deadline
    ) -> Sequence[SmartvifError | None]:
        """The error that ovs-vswitchd reports of each port just added."""
        columns = ["ofport", "error"]
        reads = [select("Interface", [["name", "==", spec.name]], columns) for spec in specs]
        found = [result["rows"] for result in self.db.transact(reads, deadline)]
        return [_failure(spec, rows) for spec, rows in zip(specs, found, strict=True)]

    def _rows(self, name: str, deadline: Deadline) -> tuple[Row | None, Row | None]:
        where = [["name", "==", name]]
        reads = [
            select("Port", where, PORT_COLUMNS),
            select("Interface", where, INTERFACE_COLUMNS),
        ]
        port, interface = (result["rows"] for result in self.db.transact(reads, deadline))
        return (port[0] if port else None), (interface[0] if interface else None)

    def _bridge_of(self, port: Row, deadline: Deadline) -> str | None:
        (found,) = self.db.transact(
            [select("Bridge", [["ports", "includes", port["_uuid"]]], ["name"])], deadline
        )
        return found["rows"][0]["name"] if found["rows"] else None

    def _refuse_foreign(
        self, spec: OvsPortSpec, port: Row, interface: Row | None, deadline: Deadline
    ) -> None:
        bridge = self._bridge_of(port, deadline)
        owner = mapping(interface["external_ids"]).get(OWNER) if interface else None
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


def _bridge_of_name(name: str, bridges: Sequence[OvsBridge]) -> OvsBridge:
    known = {bridge.name: bridge for bridge in bridges}
    if name not in known:
        hint = f"there are: {', '.join(known)}" if known else "there are none at all"
        raise NotFound(f"there is no bridge '{name}'", where="Open vSwitch", hint=hint)
    return known[name]


def _place(bridge: str) -> str:
    """The place of a netdev, in words for people."""
    return f"bridge {bridge}"


def _failure(spec: OvsPortSpec, rows: list[Row]) -> Failed | None:
    error = optional(rows[0]["error"]) if rows else "the interface has vanished"
    ofport = optional(rows[0]["ofport"]) if rows else None
    if spec.may_fail_with(error) or (not error and ofport is not None and ofport >= 0):
        return None
    return Failed(
        f"Open vSwitch did not take port '{spec.name}': {error or 'it gave no reason'}",
        where="Open vSwitch",
        hint="ovs-vsctl show, and the log of ovs-vswitchd, say more",
    )
