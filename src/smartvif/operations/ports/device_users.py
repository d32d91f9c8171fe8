"""The user of each PCI function of this host: a switch, a machine or a port."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from smartvif.context.host import HostContext
from smartvif.host.sriov import EswitchMode, Pf
from smartvif.model.errors import CannotTell, NotFound
from smartvif.model.pci import PciAddress


def device_users(pfs: Sequence[Pf], host: HostContext) -> dict[PciAddress, str]:
    """The functions that a switch or a machine has, with its name.

    Raises: CannotTell, where libvirt does not answer.
    """
    machines = host.domains.passed_through()
    return switch_users(pfs, host) | {
        address: f"virtual machine {name}" for address, name in machines.items()
    }


def switch_users(pfs: Sequence[Pf], host: HostContext) -> dict[PciAddress, str]:
    """The functions that a switch has, with the place in it."""
    taken, switches = {}, _switches(host)
    for pf in pfs:
        if pf.netdev in switches:
            taken[pf.address] = f"{switches[pf.netdev]}, where it is the uplink"
    for vf in (vf for pf in pfs if pf.eswitch is EswitchMode.SWITCHDEV for vf in pf.vfs):
        with suppress(NotFound):
            where = switches.get(host.drivers.representors.find(vf).netdev)
            if where is not None:
                taken[vf.address] = f"{where}, where its representor is"
    return taken


def port_devices(host: HostContext) -> dict[PciAddress, str]:
    """The functions that the journal's ports have, with the port."""
    ports = host.journal.ports()
    return {port.vf: port.id for port in ports if port.vf is not None}


def _switches(host: HostContext) -> dict[str | None, str]:
    """The place of each netdev that is in a switch."""
    found: dict[str | None, str] = {}
    for switch in host.drivers.switches.values():
        with suppress(CannotTell):  # not every host has every switch
            found.update(switch.netdevs())
    return found
