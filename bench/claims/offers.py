"""What hosts offer and ports ask for, where choosing and claiming are measured."""

from __future__ import annotations

import uuid

from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model import traits
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network, Port, VifType, VnicType
from smartvif.switches.device_request import device_request

PFS, VFS = 2, 64
OVS = frozenset({traits.datapath("ovs")})
"""The traits of a host."""

_FIT = frozenset({traits.SWITCHDEV, traits.TUNNELLED, traits.vnic_type(VnicType.DIRECT)})


def card(host: str, number: int, *, vfs: int = VFS, used: int = 0) -> Pool:
    """A PF of whose VFs so many are in use."""
    functions = [PciAddress(0, 0x40 + number, index // 8, index % 8) for index in range(vfs)]
    return Pool(
        host=host,
        pf=PciAddress(0, 0x03 + number, 0, 0),
        device=DeviceType.VF,
        total=vfs,
        free=vfs - used,
        functions=tuple(functions[used:]),
        unavailable=dict.fromkeys(functions[:used], "in use"),
        numa_node=number,
        traits=_FIT,
    )


def port() -> DeviceRequest:
    """What a new direct port on a tunnelled network needs."""
    asked = Port(
        id=str(uuid.uuid4()),
        mac="fa:16:3e:00:00:01",
        network=Network(id="net"),
        vnic_type=VnicType.DIRECT,
    )
    return device_request(asked, VifType.OVS)
