"""A relay as rows of the forwarder's database: a bridge with the VF and the guest's socket."""

from __future__ import annotations

from typing import Any

from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.ovs.client import Op, Row
from smartvif.drivers.ovs.rows import (
    OWNER,
    SERVER_PATH,
    OvsPortSpec,
    bridge_ops,
    interface_row,
    mapping,
    optional,
    ovsdb_map,
)
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

VHOST = "dpdkvhostuserclient"
DPDK = "dpdk"
_NAME_LEN = 11  # of the port's identifier, as Nova cuts it for a tap's name


def bridge_name(port_id: str) -> str:
    """The relay's bridge."""
    return f"fwd-{port_id[:_NAME_LEN]}"


def vhost_name(port_id: str) -> str:
    """The relay's port that connects to the guest."""
    return f"vhu-{port_id[:_NAME_LEN]}"


def vf_name(spec: RelaySpec) -> str:
    """The relay's port that is the VF."""
    return spec.netdev or f"vf-{spec.port_id[:_NAME_LEN]}"


def read(port_id: str, vf: Row, socket: Row) -> RelaySpec:
    """The relay that two Interface rows describe."""
    options: dict[str, Any] = mapping(vf["options"])
    return RelaySpec(
        port_id=port_id,
        socket=mapping(socket["options"]).get(SERVER_PATH, ""),
        mtu=optional(socket["mtu_request"]) or 0,
        netdev=vf["name"] if vf["type"] == "" else None,
        pci=_address(options.get("dpdk-devargs", "")),
        queues=int(options.get("n_rxq", 1)),
    )


def _address(devargs: str) -> PciAddress | None:
    """The PCI address of a DPDK device; None for any other device, which is not ours."""
    try:
        return PciAddress.parse(devargs)
    except Invalid:
        return None


def _vf(spec: RelaySpec) -> OvsPortSpec:
    if spec.pci is None:
        return OvsPortSpec(bridge=bridge_name(spec.port_id), name=vf_name(spec), owner=spec.port_id)
    return OvsPortSpec(
        bridge=bridge_name(spec.port_id),
        name=vf_name(spec),
        owner=spec.port_id,
        type=DPDK,
        options={"dpdk-devargs": str(spec.pci), "n_rxq": str(spec.queues)},
        mtu_request=spec.mtu,
    )


def update_ops(spec: RelaySpec) -> list[Op]:
    """Change the MTU and the queues of a relay that is there."""
    names = [vhost_name(spec.port_id), *([vf_name(spec)] if spec.pci is not None else [])]
    ops: list[Op] = [
        {
            "op": "update",
            "table": "Interface",
            "where": [["name", "==", name]],
            "row": {"mtu_request": spec.mtu},
        }
        for name in names
    ]
    if spec.pci is not None:
        queues = ovsdb_map({"n_rxq": str(spec.queues)})
        mutations = [["options", "delete", ["set", ["n_rxq"]]], ["options", "insert", queues]]
        ops.append(
            {
                "op": "mutate",
                "table": "Interface",
                "where": [["name", "==", vf_name(spec)]],
                "mutations": mutations,
            }
        )
    return ops


def insert_ops(spec: RelaySpec) -> list[Op]:
    """Add the relay; fails where there is a bridge of its name."""
    name = bridge_name(spec.port_id)
    vhost = OvsPortSpec(
        bridge=name,
        name=vhost_name(spec.port_id),
        owner=spec.port_id,
        type=VHOST,
        options={SERVER_PATH: spec.socket},
        mtu_request=spec.mtu,
    )
    local = OvsPortSpec(bridge=name, name=name, owner=spec.port_id, type="internal")
    bridge = {
        "name": name,
        "datapath_type": "netdev",
        "external_ids": ovsdb_map({OWNER: spec.port_id}),
        # A wire, not a switch: pass on what 802.1D keeps to one link, and learn no addresses,
        # so that a frame is sent to the other port wherever its address was seen before.
        "other_config": ovsdb_map({"forward-bpdu": "true"}),
        "flood_vlans": 0,
    }
    ports = (local, _vf(spec), vhost)
    return bridge_ops(bridge, [{"name": port.name, **interface_row(port)} for port in ports])
