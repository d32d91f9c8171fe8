"""The forwarder engine that is an OVS-DPDK instance of its own.

A VF that has a netdev goes into the forwarder's network namespace. One that is bound to vfio-pci is
a port of DPDK's (docs.openvswitch.org, "Using Open vSwitch with DPDK").

Every relay is a bridge with exactly two ports, the VF and the socket. So a relay is wholly in the
forwarder's database and works again after a restart of the forwarder; relays made of flows would
have to be restored.

QEMU serves the socket and the forwarder connects to it, again and again until it succeeds: so the
guest outlives the forwarder (docs.openvswitch.org, "vhost-user-client").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from smartvif.drivers.forwarder import ovs_dpdk_rows as rows
from smartvif.drivers.forwarder.engine import (
    DirectionCounters,
    EngineCapacity,
    EngineOptions,
    NamespaceLinks,
    RelayCounters,
    RelaySpec,
    RelayState,
)
from smartvif.drivers.kernel.api import LinkDriver
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.kernel.unix_sockets import remove_socket
from smartvif.drivers.ovs import openflow
from smartvif.drivers.ovs.client import Op, Ovsdb
from smartvif.drivers.ovs.rows import OWNER, OvsPortState, mapping, ovsdb_map, select, uuids
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.model.errors import CannotTell, Failed, Invalid, NotFound

RELAYS = "smartvif-relays"
"""The key in ``Open_vSwitch.external_ids`` with the number of relays that there is memory for.

It is set where the instance is started, since its memory is allocated there.
"""


class OvsDpdkEngine:
    """An OVS-DPDK instance, and the network namespace ``netns`` that it lives in.

    ``inside`` opens the links there for one call. Without it this process enters the namespace
    itself, which takes CAP_SYS_ADMIN. The contract of the methods is in ``ForwarderEngine``.
    """

    def __init__(
        self, ovs: OpenVSwitch, *, netns: str, inside: Callable[[], NamespaceLinks] | None = None
    ) -> None:
        self.ovs = ovs
        self.netns = netns
        self._inside: Callable[[], NamespaceLinks] = inside or partial(Links, netns)

    @classmethod
    def open(
        cls, options: EngineOptions, inside: Callable[[], NamespaceLinks] | None = None
    ) -> OvsDpdkEngine:
        """The instance whose database and namespace the options name.

        Raises: Invalid, where they do not name both.
        """
        if not (options.database and options.netns):
            raise Invalid(
                "OVS-DPDK needs its database and its network namespace",
                where="forwarder",
                hint="set 'database' and 'netns'",
            )
        switch = OpenVSwitch(Ovsdb(options.database), timeout=options.timeout)
        return cls(switch, netns=options.netns, inside=inside)

    def check_alive(self) -> None:
        """Check that ovsdb-server answers; ovs-vswitchd makes pending relays when it returns.

        Raises: CannotTell.
        """
        self.ovs.bridges()

    def capacity(self) -> EngineCapacity:
        """How many relays there are and can be, as the instance's database has it.

        Raises: CannotTell.
        """
        configs, bridges = (
            result["rows"]
            for result in self.ovs.db.transact(
                [
                    select("Open_vSwitch", [], ["other_config", "external_ids"]),
                    select("Bridge", [], ["external_ids"]),
                ],
                self.ovs.deadline(),
            )
        )
        if not configs:
            raise CannotTell(
                "its database has not been initialized",
                where="forwarder",
                hint="start it by its own unit, or see: ovs-vsctl init",
            )
        config = configs[0]
        most = mapping(config["external_ids"]).get(RELAYS, "")
        return EngineCapacity(
            relays=sum(OWNER in mapping(row["external_ids"]) for row in bridges),
            most=int(most) if most.isdecimal() else None,
            hugepages="--no-huge" not in mapping(config["other_config"]).get("dpdk-extra", ""),
        )

    def add(self, spec: RelaySpec, links: LinkDriver) -> None:
        """Move the VF from ``links`` to the forwarder, and make or change the relay. Idempotent.

        Raises: Failed with OVS's words, NotFound (VF), TimedOut, CannotTell.
        """
        # ovs-vswitchd may still hold a netdev that has gone and come again: it gets a new port.
        there = None if self._take(spec, links) else self.relay_spec(spec.port_id)
        if there is not None and replace(there, mtu=spec.mtu, queues=spec.queues) == spec:
            # The guest's connection stays.
            ops = [] if there == spec else rows.update_ops(spec)
            self.ovs.db.commit(ops, self.ovs.deadline())
        else:
            self._delete_bridge(spec.port_id)
            self.ovs.db.commit(rows.insert_ops(spec), self.ovs.deadline())
        failure = self._failure(spec)
        if failure is not None:
            raise Failed(
                f"the forwarder did not take {failure}",
                where="forwarder",
                hint=f"see its log; the guest's socket is {spec.socket}",
            )

    def remove(self, spec: RelaySpec) -> None:
        """Remove the relay and return the VF to our namespace. Idempotent.

        Raises: Failed, CannotTell.
        """
        self._delete_bridge(spec.port_id)
        if spec.netdev is not None:
            # NotFound: the VF has gone meanwhile, or the namespace, whose end returned the VF.
            with closing(self._inside()) as inside, suppress(NotFound):
                if inside.get(spec.netdev) is not None:
                    inside.move(spec.netdev, None)
        remove_socket(spec.socket)

    def matches(self, spec: RelaySpec) -> bool:
        """Whether the VF is there, and the relay in the database without an error of OVS.

        Raises: CannotTell.
        """
        if spec.netdev is not None:
            with closing(self._inside()) as inside:
                if inside.get(spec.netdev) is None:
                    return False
        return self.relay_spec(spec.port_id) == spec and self._failure(spec) is None

    def relay_spec(self, port_id: str) -> RelaySpec | None:
        """The relay that is there for a port, as the forwarder's database has it, or None.

        Raises: CannotTell.
        """
        where = [["external_ids", "includes", ovsdb_map({OWNER: port_id})]]
        bridges, ports, interfaces = (
            result["rows"]
            for result in self.ovs.db.transact(
                [
                    select("Bridge", where, ["name", "ports"]),
                    select("Port", [], ["_uuid", "name"]),
                    select("Interface", where, ["name", "type", "options", "mtu_request"]),
                ],
                self.ovs.deadline(),
            )
        )
        if [row["name"] for row in bridges] != [rows.bridge_name(port_id)]:
            return None
        inside = set(uuids(bridges[0]["ports"]))
        names = {row["name"] for row in ports if row["_uuid"][1] in inside}
        found = [row for row in interfaces if row["name"] in names]
        vfs = [row for row in found if row["type"] in {"", rows.DPDK}]
        sockets = [row for row in found if row["type"] == rows.VHOST]
        if len(vfs) != 1 or len(sockets) != 1:
            return None
        return rows.read(port_id, vfs[0], sockets[0])

    def state(self, port_id: str) -> RelayState | None:
        """The relay's port to the guest, or None.

        Raises: CannotTell.
        """
        port = self.ovs.port(rows.vhost_name(port_id))
        # Its name has only the beginning of the identifier.
        return _state(port) if port is not None and port.owner == port_id else None

    def states(self) -> Mapping[str, RelayState]:
        """Every relay's port to the guest, by the port of the relay.

        Raises: CannotTell.
        """
        ports = [port for port in self.ovs.ports() if port.type == rows.VHOST]
        return {port.owner: _state(port) for port in ports if port.owner is not None}

    def statistics(self, port_id: str) -> RelayCounters | None:
        """The present counters, from ovs-vswitchd; its database is up to 5 s behind.

        Raises: CannotTell.
        """
        spec = self.relay_spec(port_id)
        if spec is None:
            return None
        guest, vf = (self.ovs.port(name) for name in (rows.vhost_name(port_id), rows.vf_name(spec)))
        kind, _, path = self.ovs.db.address.partition(":")
        if kind != "unix":
            raise CannotTell(
                "statistics are to be had only from a forwarder on this host",
                where="forwarder",
                hint="have its database at unix:PATH, in its run directory",
            )
        # ovs-vswitchd serves each bridge's OpenFlow beside the database's socket (ovs-vsctl(8)).
        counted = openflow.port_statistics(
            Path(path).parent / f"{rows.bridge_name(port_id)}.mgmt", self.ovs.deadline()
        )
        if not guest or not vf or not {guest.ofport, vf.ofport} <= counted.keys():
            return None
        at_guest, at_vf = counted[guest.ofport or 0], counted[vf.ofport or 0]
        return RelayCounters(
            to_guest=DirectionCounters(
                packets=at_guest.tx_packets,
                bytes=at_guest.tx_bytes,
                drops=at_guest.tx_dropped + at_vf.rx_dropped,
            ),
            from_guest=DirectionCounters(
                packets=at_guest.rx_packets,
                bytes=at_guest.rx_bytes,
                drops=at_guest.rx_dropped + at_vf.tx_dropped,
            ),
        )

    def _take(self, spec: RelaySpec, links: LinkDriver) -> bool:
        """Bring the VF into the forwarder's namespace, and up; returns whether it was moved."""
        if spec.netdev is None:
            return False
        with closing(self._inside()) as inside:
            came = inside.get(spec.netdev) is None
            if came:
                links.move(spec.netdev, self.netns)
            inside.set_up(spec.netdev, mtu=spec.mtu)
        return came

    def _delete_bridge(self, port_id: str) -> None:
        where = [
            ["name", "==", rows.bridge_name(port_id)],
            ["external_ids", "includes", ovsdb_map({OWNER: port_id})],
        ]
        (found,) = self.ovs.db.transact([select("Bridge", where, ["_uuid"])], self.ovs.deadline())
        if found["rows"]:
            removal: Op = {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["bridges", "delete", found["rows"][0]["_uuid"]]],
            }
            self.ovs.commit_removal([removal], self.ovs.deadline())

    def _failure(self, spec: RelaySpec) -> str | None:
        for name in (rows.vf_name(spec), rows.vhost_name(spec.port_id)):
            port = self.ovs.port(name)
            failure = port.failure if port is not None else "it has no such port"
            if failure:
                return f"'{name}': {failure}"
        return None


def _state(port: OvsPortState) -> RelayState:
    return RelayState(failure=port.failure, link_up=port.link_up, says=port.as_json())
