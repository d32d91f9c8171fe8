"""The steps that plug a VIF into the vRouter.

One rule names a port: what the agent is told as ``system-name`` is the netdev that the vRouter is
to take by the name it really has. For a guest's tap that is the VIF's name, which libvirt will give
it; for a VF it is its representor's, found from the VF's address and never renamed, because other
programs have seen the name too. For a vhost-user socket, where there is no netdev, it is the VIF's
name, from which the vRouter makes the socket's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextlib import suppress

from smartvif.drivers.vrouter.port import VhostUserMode, VRouterPort
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.vif import SocketMode, VifKind
from smartvif.plug.plans.inputs import PlanInput
from smartvif.plug.plans.relay import relay, trust, vf_steps
from smartvif.plug.steps.links import LinkUp
from smartvif.plug.steps.step import Plan
from smartvif.plug.steps.vrouter import AgentPort


def _tap(case: PlanInput) -> Plan:
    """A tap, which libvirt makes when the guest starts unless the VIF has us make it.

    The agent takes the port before and activates it when the tap appears. It reads its files when
    it starts, so a port like this can wait for an agent that is down.
    """
    told = _agent_port(case, case.tap().name, deferrable=True)
    if case.vif.profile is not None and case.vif.profile.create_tap:
        return case.tap(), LinkUp(name=case.tap().name, mtu=case.mtu), told
    return (told,)


def _socket(case: PlanInput) -> Plan:
    """A vhost-user port of the DPDK vRouter, which lives and dies with its agent."""
    name, path = _needed(case.vif.vif_name, "name"), case.socket
    listens = case.vif.mode is SocketMode.CLIENT
    return (_agent_port(case, name, socket=path if listens else None),)


def _passthrough(case: PlanInput) -> Plan:
    """The representor in the vRouter; the guest has the VF."""
    plugged = _with_representor(case)
    if not case.with_vf.vf.simulated:
        return *trust(case), *plugged
    return case.vf_settings(), *plugged, *case.passthrough()


def _forwarder(case: PlanInput) -> Plan:
    """The representor in the vRouter, the VF in the forwarder, the guest on its socket."""
    relayed = relay(case)
    return *vf_steps(case), *_with_representor(case), relayed


def _with_representor(case: PlanInput) -> Plan:
    netdev = case.representor
    return LinkUp(name=netdev, mtu=case.mtu), _agent_port(case, netdev)


def _agent_port(
    case: PlanInput, netdev: str, *, deferrable: bool = False, socket: str | None = None
) -> AgentPort:
    return AgentPort(
        port=_port(case, netdev),
        deferrable=deferrable,
        socket=socket,
        socket_wait=case.agent.socket_wait,
        persist=case.agent.persist,
    )


def _port(case: PlanInput, netdev: str) -> VRouterPort:
    vif, machine = case.vif, case.machine
    project = None
    with suppress(Invalid):  # Keystone's are UUIDs without dashes; other clouds have other names
        project = checks.uuid(machine.project or "")
    server = vif.mode is SocketMode.SERVER
    return VRouterPort(
        id=_uuid(vif.id, "VIF"),
        machine=_uuid(machine.uuid, "machine"),
        network=_uuid(vif.network.id, "network"),
        name=machine.name,
        mac=vif.address,
        netdev=netdev,
        project=project,
        ip=_first(vif.fixed_ips, 4),
        ip6=_first(vif.fixed_ips, 6),
        type=case.agent.type,
        rx_vlan=case.agent.rx_vlan,
        tx_vlan=case.agent.tx_vlan,
        vhostuser_mode=VhostUserMode.SERVER if server else VhostUserMode.CLIENT,
    )


def _uuid(text: str, what: str) -> str:
    with checks.about(f"vRouter port, {what}"):
        return checks.uuid(text)


def _first(addresses: tuple[str, ...], version: int) -> str | None:
    """The agent knows one address of each version; the others it has from its controller."""
    parsed = (ipaddress.ip_address(address) for address in addresses)
    return next((str(address) for address in parsed if address.version == version), None)


def _needed(value: str | None, what: str) -> str:
    if value is None:
        raise Invalid(f"a vhost-user VIF needs a {what}, and this one has none")
    return value


PLANS: dict[tuple[VifKind, bool], Callable[[PlanInput], Plan]] = {
    (VifKind.GENERIC, False): _tap,
    (VifKind.VHOSTUSER, False): _socket,
    (VifKind.HOST_DEVICE, True): _passthrough,
    (VifKind.VHOSTUSER, True): _forwarder,
}
"""(the VIF's shape, is there a VF behind it?)"""
