"""The VF of a port, which may be plugged already, and the netdevs that go with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smartvif.host import sriov
from smartvif.host.representors import Representors
from smartvif.host.sriov import Vf
from smartvif.model.pci import PciAddress
from smartvif.plug.journal import Journal
from smartvif.plug.plans.inputs import PortDevices, devices
from smartvif.plug.steps.relay import ForwarderRelay


def read_devices(
    address: PciAddress,
    port: str,
    journal: Callable[[], Journal],
    representors: Representors,
    *,
    with_uplink: bool,
) -> PortDevices:
    """What a plan must know of the VF at ``address``; ``with_uplink`` where its PF is to set it.

    Raises: NotFound, Ambiguous; CannotTell (journal).
    """
    return devices(read(address, port, journal), representors, with_uplink=with_uplink)


def read(address: PciAddress, port: str, journal: Callable[[], Journal]) -> Vf:
    """The VF at ``address`` for ``port``, to plan with.

    A simulated VF that the port has behind a forwarder is in the forwarder's network namespace, so
    sysfs shows no netdev of it here; its name is the one in the port's plan.
    Raises: NotFound; CannotTell (journal).
    """
    vf = sriov.vf(address)
    if vf.netdev is not None or not vf.simulated:
        return vf
    record = journal().port(port)
    if record is None or record.vf != address:
        return vf
    steps = (entry.step for entry in journal().entries(port))
    relays = (step.spec for step in steps if isinstance(step, ForwarderRelay))
    return replace(vf, netdev=next((spec.netdev for spec in relays), None))
