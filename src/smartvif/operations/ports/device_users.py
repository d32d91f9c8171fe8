"""The users of the PCI functions of this host, each read from its own source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from smartvif.choose.selection.device_use import DeviceUsers
from smartvif.context.host import HostContext
from smartvif.host import netdev, vdpa, vfio_users
from smartvif.host.sriov import EswitchMode, Pf, Vf
from smartvif.model.errors import Ambiguous, CannotTell, NotFound
from smartvif.model.pci import PciAddress

SwitchNetdevs = Mapping[str, Mapping[str, str]]
"""The place of each netdev of a switch, by the switch's name."""

NONE_READ: SwitchNetdevs = MappingProxyType({})


def device_users(
    pfs: Sequence[Pf], host: HostContext, netdevs: SwitchNetdevs = NONE_READ
) -> DeviceUsers:
    """What a switch, a machine or a process has.

    ``netdevs`` are those of switches that have been read already.
    Raises: CannotTell, where libvirt does not answer.
    """
    # A host without SmartNICs need not have libvirt to be looked at.
    passed = host.domains.passed_through() if pfs else {}
    machines = {address: f"virtual machine {name}" for address, name in passed.items()}
    found = users_without_machines(pfs, host, netdevs)
    return replace(found, named={**found.named, **machines})


def users_without_machines(
    pfs: Sequence[Pf], host: HostContext, netdevs: SwitchNetdevs = NONE_READ
) -> DeviceUsers:
    """What a switch or a process has. QEMU is a process, of which the machine's name is unknown."""
    switches = _switches(host, netdevs)
    named = {
        vf.address: user
        for pf in pfs
        for vf in pf.vfs
        if (user := _vf_user(vf, pf, switches, host)) is not None
    }
    uplinks = {
        pf.address: f"{user}, where it is the uplink"
        for pf in pfs
        if (user := _place(pf.netdev, switches)) is not None
    }
    return DeviceUsers(
        named=named,
        uplinks=uplinks,
        vfio=vfio_users.users([*pfs, *(vf for pf in pfs for vf in pf.vfs)]),
        vdpa=vdpa.functions(),
    )


def port_devices(host: HostContext) -> dict[PciAddress, str]:
    """The functions that the journal's ports have, with the port."""
    ports = host.journal.ports()
    return {port.vf: port.id for port in ports if port.vf is not None}


def _vf_user(vf: Vf, pf: Pf, switches: Mapping[str, str], host: HostContext) -> str | None:
    """The switch or the interface that has a VF's representor or its own netdev."""
    if pf.eswitch is EswitchMode.SWITCHDEV:
        with suppress(NotFound, Ambiguous):
            place = _place(host.drivers.representors.find(vf).netdev, switches)
            if place is not None:
                return f"{place}, where its representor is"
    place = _place(vf.netdev, switches)
    return None if place is None else f"{place}, where its netdev is"


def _place(name: str | None, switches: Mapping[str, str]) -> str | None:
    """The switch that has a netdev, or else what the kernel has on top of it."""
    if name is None:
        return None
    return switches.get(name) or next(iter(netdev.above(name)), None)


def _switches(host: HostContext, netdevs: SwitchNetdevs) -> dict[str, str]:
    """The place of each netdev that is in a switch."""
    found: dict[str, str] = {}
    for name, switch in host.drivers.switches.items():
        with suppress(CannotTell):  # not every host has every switch
            found.update(netdevs[name] if name in netdevs else switch.netdevs())
    return found
