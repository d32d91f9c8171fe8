"""The virtio forwarder: an OVS-DPDK of its own that joins each VF to one guest's vhost-user socket.

Every relay is a bridge with two ports, the VF and the socket, and nothing else in it. So a relay
is wholly in the forwarder's database: after a restart of the forwarder it works again without
anybody's help, where relays made of flows would have to be made anew.

QEMU serves the socket and the forwarder connects to it, again and again until it succeeds: so the
guest outlives the forwarder (docs.openvswitch.org, "vhost-user-client").
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from smartvif.drivers.netdevice import Link
from smartvif.drivers.netlink import Links
from smartvif.drivers.ovs import OpenVSwitch
from smartvif.drivers.ovs_rows import (
    OWNER,
    PortSpec,
    PortState,
    bridge_ops,
    interface_row,
    mapping,
    ovsdb_map,
    select,
)
from smartvif.drivers.ovsdb import Op
from smartvif.model.errors import Failed, NotFound

_log = logging.getLogger(__name__)

_VHOST = "dpdkvhostuserclient"
_NAME_LEN = 11  # of the port's identifier, as Nova cuts it for a tap's name


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySpec:
    """One relay: the VF's netdev, the guest's socket, and the MTU in bytes of what goes through."""

    port_id: str
    netdev: str
    socket: str
    mtu: int

    @property
    def bridge(self) -> str:
        """The relay's bridge in the forwarder."""
        return f"fwd-{self.port_id[:_NAME_LEN]}"

    @property
    def vhost(self) -> str:
        """The relay's port that connects to the guest."""
        return f"vhu-{self.port_id[:_NAME_LEN]}"


class Inside(Protocol):
    """The links of the forwarder's namespace, and what is done with them; as ``Links`` does it."""

    def get(self, name: str, /) -> Link | None:
        """The link called ``name``, or None."""

    def set_up(self, name: str, /, *, mtu: int) -> None:
        """Bring a link up, with ``mtu`` bytes."""

    def move(self, name: str, to: None, /) -> None:
        """Move a link out, to this process's own namespace."""

    def close(self) -> None:
        """Close what was opened."""


class Forwarder:
    """An OVS-DPDK instance, and the network namespace ``netns`` that it lives in.

    ``inside`` opens the links there for one call. Without it this process enters the namespace
    itself, which takes CAP_SYS_ADMIN.
    """

    def __init__(
        self, ovs: OpenVSwitch, *, netns: str, inside: Callable[[], Inside] | None = None
    ) -> None:
        self.ovs = ovs
        self.netns = netns
        self._inside: Callable[[], Inside] = inside or partial(Links, netns)

    def add(self, spec: RelaySpec, links: Links) -> None:
        """Give the forwarder the VF, taken from ``links``, and make the relay; twice is once.

        Raises: Failed with OVS's words, TimedOut, CannotTell.
        """
        with closing(self._inside()) as inside:
            if inside.get(spec.netdev) is None:
                links.move(spec.netdev, self.netns)
            inside.set_up(spec.netdev, mtu=spec.mtu)
        deadline = self.ovs.deadline()
        if spec.bridge not in {bridge.name for bridge in self.ovs.bridges()}:
            self.ovs.db.commit(_insert_ops(spec), deadline)
        for name in (spec.netdev, spec.vhost):
            port = self.ovs.port(name)
            failure = port.failure if port is not None else "it has no such port"
            if failure:
                raise Failed(
                    f"the forwarder did not take '{name}': {failure}",
                    where="forwarder",
                    hint=f"see its log; the guest's socket is {spec.socket}",
                )

    def remove(self, spec: RelaySpec) -> None:
        """Take the relay away and give the VF back to our namespace; absent is fine.

        Raises: Failed, CannotTell.
        """
        where = [["name", "==", spec.bridge]]
        (found,) = self.ovs.db.transact(
            [{"op": "select", "table": "Bridge", "where": where, "columns": ["_uuid"]}],
            self.ovs.deadline(),
        )
        if found["rows"]:
            removal: Op = {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["bridges", "delete", found["rows"][0]["_uuid"]]],
            }
            self.ovs.commit_removal([removal], self.ovs.deadline())
        # NotFound: the VF has gone meanwhile, or the whole namespace, which gave it back.
        with closing(self._inside()) as inside, suppress(NotFound):
            if inside.get(spec.netdev) is not None:
                inside.move(spec.netdev, None)
        try:
            Path(spec.socket).unlink(missing_ok=True)
        except PermissionError:
            # A QEMU that ends removes its socket, and one that listens what is in its way
            # (util/qemu-sockets.c, unix_listen_saddr); the service may not.
            _log.warning("%s is not ours to remove: left as it is", spec.socket)
        except OSError as error:
            raise Failed(f"cannot remove {spec.socket}: {error}", where="forwarder") from error

    def relay_of(self, port_id: str) -> RelaySpec | None:
        """The relay that is there for a port, as the forwarder's database has it, or None.

        Raises: CannotTell.
        """
        where = [["external_ids", "includes", ovsdb_map({OWNER: port_id})]]
        bridges, interfaces = (
            result["rows"]
            for result in self.ovs.db.transact(
                [
                    select("Bridge", where, ["name"]),
                    select("Interface", where, ["name", "type", "options", "mtu_request"]),
                ],
                self.ovs.deadline(),
            )
        )
        vfs = [row for row in interfaces if not row["type"]]
        sockets = [row for row in interfaces if row["type"] == _VHOST]
        if not (bridges and vfs and sockets):
            return None
        found = RelaySpec(
            port_id=port_id,
            netdev=vfs[0]["name"],
            socket=mapping(sockets[0]["options"])["vhost-server-path"],
            mtu=sockets[0]["mtu_request"],
        )
        return found if [row["name"] for row in bridges] == [found.bridge] else None

    def relay_port(self, spec: RelaySpec) -> PortState | None:
        """The relay's port to the guest, up when the guest's driver is; None if there is none.

        Raises: CannotTell.
        """
        return self.ovs.port(spec.vhost)


def _insert_ops(spec: RelaySpec) -> list[Op]:
    vf = PortSpec(bridge=spec.bridge, name=spec.netdev, owner=spec.port_id)
    vhost = PortSpec(
        bridge=spec.bridge,
        name=spec.vhost,
        owner=spec.port_id,
        type=_VHOST,
        options={"vhost-server-path": spec.socket},
        mtu_request=spec.mtu,
    )
    local = PortSpec(bridge=spec.bridge, name=spec.bridge, owner=spec.port_id, type="internal")
    bridge = {
        "name": spec.bridge,
        "datapath_type": "netdev",
        "external_ids": ovsdb_map({OWNER: spec.port_id}),
        # A wire, not a switch: pass on what 802.1D keeps to one link, and learn no addresses,
        # so that a frame is sent to the other port wherever its address was seen before.
        "other_config": ovsdb_map({"forward-bpdu": "true"}),
        "flood_vlans": 0,
    }
    return bridge_ops(
        bridge, [{"name": port.name, **interface_row(port)} for port in (local, vf, vhost)]
    )
