"""The input of a plan: the VIF, its machine, and the VF behind it."""

from __future__ import annotations

from dataclasses import dataclass

from smartvif.control import names
from smartvif.drivers.vrouter.port import DEFAULT_AGENT_OPTIONS, AgentOptions
from smartvif.host import sriov
from smartvif.host.representors import Representors
from smartvif.host.sriov import Vf
from smartvif.model import checks
from smartvif.model.errors import Failed
from smartvif.model.vif import Machine, Vif
from smartvif.plug.steps.links import Tap
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings

DEFAULT_MTU = 1500
"""Bytes, where the network says nothing (os-vif's ``network_device_mtu``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDevices:
    """The VF behind a VIF, with its representor's netdev where a switch has it, and its PF's."""

    vf: Vf
    representor: str | None = None
    uplink: str | None = None

    @property
    def netdev(self) -> str:
        """The VF's own netdev.

        Raises: Failed, where it has none: something else has the VF.
        """
        if self.vf.netdev is None:
            raise Failed(
                f"VF {self.vf.address} has no netdev here",
                hint=f"it is bound to the driver {self.vf.driver or 'none'}",
            )
        return self.vf.netdev


def devices(vf: Vf, representors: Representors, *, with_uplink: bool) -> PortDevices:
    """Look up what a plan must know of ``vf``; ``with_uplink`` where its PF is to set it.

    Raises: NotFound, Ambiguous.
    """
    # To find a PF's own netdev among its representors takes as long as all else of a plug.
    uplink = sriov.uplink(vf.pf) if with_uplink else None
    return PortDevices(vf=vf, representor=representors.find(vf).netdev, uplink=uplink)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """One VIF to be planned for. ``devices`` is there wherever a step needs the VF.

    ``agent_sets_vlan``: where the network says no VLAN, a controller's agent chooses one. ``agent``
    is for the vRouter's agent only.
    """

    vif: Vif
    machine: Machine
    devices: PortDevices | None
    agent_sets_vlan: bool = False
    agent: AgentOptions = DEFAULT_AGENT_OPTIONS

    @property
    def mtu(self) -> int:
        """In bytes."""
        return self.vif.network.mtu or DEFAULT_MTU

    @property
    def with_vf(self) -> PortDevices:
        """The VF, of a VIF that has one."""
        assert self.devices is not None  # checked by plan()
        return self.devices

    @property
    def representor(self) -> str:
        """The netdev for the switch, of a VIF that has a VF in one."""
        assert self.with_vf.representor is not None
        return self.with_vf.representor

    @property
    def socket(self) -> str:
        """The path of the guest's vhost-user socket.

        Raises: Invalid, where there is none, or none that can be.
        """
        with checks.about(f"VIF {self.vif.id}"):
            return checks.socket_path(self.vif.path or "")

    def tap(self) -> Tap:
        """The tap for the guest."""
        vif = self.vif
        return Tap(
            name=vif.vif_name or names.tap(vif.id),
            mac=vif.address,
            multi_queue=vif.profile is not None and vif.profile.multiqueue,
        )

    def vf_settings(self) -> SimulatedVfSettings:
        """A simulated VF with the guest's address."""
        return SimulatedVfSettings(netdev=self.with_vf.netdev, mac=self.vif.address, mtu=self.mtu)

    def passthrough(self) -> tuple[Tap, SimulatedPassthrough]:
        """What stands in for passthrough of a simulated VF."""
        tap = self.tap()
        return tap, SimulatedPassthrough(netdev=self.with_vf.netdev, tap=tap.name, mtu=self.mtu)
