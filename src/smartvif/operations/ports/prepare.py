"""Prepare a port of this host: bind it, claim its VF, plan its steps."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from smartvif.choose.selection.pool import ANYWHERE, Guest
from smartvif.choose.selection.request import DeviceRequest
from smartvif.context.host import HostContext
from smartvif.host.sriov import Pf, Vf
from smartvif.model import checks
from smartvif.model.port import Binding, Network, Port
from smartvif.model.port_spec import PortSpec
from smartvif.model.vif import Machine
from smartvif.operations.ports.claims import OnCandidates, claim
from smartvif.operations.ports.device_users import NONE_READ, SwitchNetdevs
from smartvif.plug import port_vf
from smartvif.plug.executor import PortPlan
from smartvif.plug.plans.inputs import DEFAULT_MTU
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.switches.build_vif import build_vif, for_guest, with_tap
from smartvif.switches.device_request import device_request
from smartvif.switches.port_switch import PortSwitch
from smartvif.switches.prepare import prepare_port


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPort:
    """A port with its binding. ``wanted`` is the VF that it needs, if it needs one."""

    request: PortSpec
    port: Port
    switch: PortSwitch
    binding: Binding
    wanted: DeviceRequest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPort:
    """A port with its VF claimed. ``planned`` is the host's side, ``interface`` the guest's."""

    planned: PortPlan
    vf: Vf | None
    interface: AttachedInterface

    def with_guest(self) -> PortPlan:
        """The plan that ends with the guest's interface."""
        return replace(self.planned, plan=(*self.planned.plan, self.interface))


def bind_port(request: PortSpec, switch: PortSwitch) -> BoundPort:
    """Bind the port that is asked for, with what was left to be chosen.

    Raises: Invalid, for what the switch cannot carry.
    """
    port = _port(request)
    binding = switch.bind(port)
    wanted = None
    if request.mode.needs_vf:
        wanted = replace(device_request(port, binding.vif_type), pf=request.pf, vf=request.vf)
    return BoundPort(request=request, port=port, switch=switch, binding=binding, wanted=wanted)


def claim_and_prepare(
    bound: BoundPort,
    machine: Machine,
    host: HostContext,
    *,
    pfs: Sequence[Pf] | None = None,
    guest: Guest = ANYWHERE,
    on_candidates: OnCandidates = lambda _: None,
) -> PreparedPort:
    """Claim a VF if one is needed, and plan the port; nothing else is changed.

    ``pfs`` are the host's, where they have been read already.
    The caller holds the port's lock, by ``claims.claim_synced_with_journal``.
    Raises: Invalid, NotFound, Refused (no VF is free); Conflict; CannotTell, where OVS or libvirt
    does not answer.
    """
    port, request, found = bound.port, bound.request, None
    if bound.wanted is not None:
        address = claim(
            bound.wanted,
            host,
            pfs=pfs,
            netdevs=_netdevs(bound.switch),
            guest=guest,
            on_candidates=on_candidates,
        )
        port = replace(port, vf=address)
        found = port_vf.read_devices(
            address,
            port.id,
            lambda: host.journal,
            host.drivers.representors,
            with_uplink=True,
        )
    vif = with_tap(build_vif(port, bound.binding))
    return PreparedPort(
        planned=prepare_port(
            vif, machine, found, switch_simulated=bound.switch.simulated, needs=request.needs
        ),
        vf=None if found is None else found.vf,
        interface=AttachedInterface.of(machine, for_guest(vif, found)),
    )


def _netdevs(switch: PortSwitch) -> SwitchNetdevs:
    found = switch.reading.netdevs
    return NONE_READ if found is None else {switch.name: found}


def _port(request: PortSpec) -> Port:
    network = checks.uuid(request.network) if request.network is not None else request.bridge
    return Port(
        id=request.id or str(uuid.uuid4()),
        mac=request.mac or _new_mac(),
        vnic_type=request.mode.vnic_type,
        network=Network(
            id=network or "",
            bridge=request.bridge,
            physical_network=request.needs.physical_network,
            vlan=request.vlan,
            mtu=request.mtu or DEFAULT_MTU,
        ),
        needs=request.needs,
    )


def _new_mac() -> str:
    """An address in the range that QEMU's and libvirt's users take theirs from."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
