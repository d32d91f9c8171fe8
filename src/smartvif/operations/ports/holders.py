"""Who has which PCI function of this host: a switch by its representor, a machine, a port."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from smartvif.context.host import HostContext
from smartvif.host.sriov import EswitchMode, Pf
from smartvif.model.errors import CannotTell, NotFound
from smartvif.model.pci import PciAddress


def holders(pfs: Sequence[Pf], host: HostContext) -> dict[PciAddress, str]:
    """The functions that a switch or a machine has, and which.

    Raises: CannotTell, where libvirt does not answer.
    """
    machines = host.domains.passed_through()
    return switch_holders(pfs, host) | {
        address: f"virtual machine {name}" for address, name in machines.items()
    }


def switch_holders(pfs: Sequence[Pf], host: HostContext) -> dict[PciAddress, str]:
    """The functions that a switch has, and where."""
    taken, switches = {}, _switches(host)
    for pf in pfs:
        if pf.netdev in switches:
            taken[pf.address] = f"{switches[pf.netdev]}, where it is the uplink"
    for vf in (vf for pf in pfs if pf.eswitch is EswitchMode.SWITCHDEV for vf in pf.vfs):
        with suppress(NotFound):
            where = switches.get(host.representors.find(vf).netdev)
            if where is not None:
                taken[vf.address] = f"{where}, where its representor is"
    return taken


def port_holders(host: HostContext) -> dict[PciAddress, str]:
    """The functions that the journal's ports have, and the ports."""
    ports = host.journal.ports()
    return {PciAddress.parse(port.vf): port.id for port in ports if port.vf is not None}


def _switches(host: HostContext) -> dict[str | None, str]:
    """Where each netdev is that is in a switch."""
    found: dict[str | None, str] = {}
    with suppress(CannotTell):  # a host of the vRouter's may have no Open vSwitch
        found = {port.name: f"bridge {port.bridge}" for port in host.drivers.need_ovs().ports()}
    vrouter = host.drivers.need_vrouter().files.netdevs()
    return found | {netdev: f"the vRouter's port {port}" for netdev, port in vrouter.items()}
