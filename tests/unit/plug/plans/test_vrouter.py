"""The steps that each VIF of the vRouter is plugged by, and the names that its agent is told."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from smartvif.control.bind_vrouter import VRouterHost, bind_vrouter
from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.vrouter.port import AgentOptions, PortType, VRouterPort
from smartvif.guest.xml import interface_xml
from smartvif.host.sriov import Vf
from smartvif.host.vf_info import VfAdmin
from smartvif.model.errors import Invalid
from smartvif.model.needs import Needs
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Network, Port, VifType, VnicType
from smartvif.model.vif import Machine, PortProfile, ProfileKind, Vif
from smartvif.plug.plans.inputs import DEFAULT_MTU, PortDevices
from smartvif.plug.steps.links import LinkUp, Tap
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings
from smartvif.plug.steps.step import Plan
from smartvif.plug.steps.vf import VfAdminSettings
from smartvif.plug.steps.vrouter import AgentPort
from smartvif.switches.build_vif import build_vif
from smartvif.switches.nic import NIC
from smartvif.switches.plan import plan, switch_of
from smartvif.switches.prepare import prepare_port
from smartvif.switches.vrouter import VROUTER

ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
TAP = "tap0d9a1b2c-3e"
MAC = "52:54:00:12:34:56"
NETWORK = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"
PROJECT = "1111111122224333844455555555aaaa"
MACHINE = Machine(uuid="9a5b1c52-2f0e-4a5e-9d5f-6c1a5b2f7e01", name="web", project=PROJECT)
VF = PciAddress.parse("0000:04:00.1")
SOCKET = f"/var/run/vrouter/uvh_vif_{TAP}"


def vif(
    vnic_type: VnicType = VnicType.NORMAL,
    vif_type: VifType = VifType.VROUTER,
    *,
    ips: tuple[str, ...] = ("10.0.0.5",),
    mtu: int | None = 1450,
    **details: str | bool,
) -> Vif:
    network = Network(id=NETWORK, mtu=mtu)
    port = Port(id=ID, mac=MAC, network=network, vnic_type=vnic_type, vf=VF, fixed_ips=ips)
    return build_vif(port, Binding(vif_type=vif_type, details=details))


def dpdk(mode: str) -> Vif:
    return vif(
        vif_type=VifType.VHOSTUSER,
        vhostuser_vrouter_plug=True,
        vhostuser_socket=SOCKET,
        vhostuser_mode=mode,
    )


NORMAL = vif()
DIRECT = vif(VnicType.DIRECT)
FORWARDER = vif(VnicType.VIRTIO_FORWARDER, vhostuser_socket=SOCKET)
TOLD = VRouterPort(
    id=ID,
    machine=MACHINE.uuid,
    network=NETWORK,
    name="web",
    mac=MAC,
    netdev=TAP,
    project="11111111-2222-4333-8444-55555555aaaa",
    ip="10.0.0.5",
)


def devices(*, simulated: bool = True) -> PortDevices:
    found = Vf(
        address=VF,
        pf=PciAddress.parse("0000:03:00.0"),
        number=1,
        vendor="15b3",
        device="101e",
        driver="mlx5_core",
        iommu_group=None,
        numa_node=None,
        netdev="p0v1",
        simulated=simulated,
    )
    return PortDevices(vf=found, representor="p0r1")


def planned(asked: Vif, found: PortDevices | None = None) -> Plan:
    return plan(asked, machine=MACHINE, devices=found)


def test_what_only_the_agent_is_told() -> None:
    """The agent's options are in its step, of every kind of port, and no other step changes."""
    options = AgentOptions(
        type=PortType.NAMESPACE, rx_vlan=7, tx_vlan=8, persist=False, socket_wait=3.0
    )
    for asked, found in ((NORMAL, None), (DIRECT, devices()), (FORWARDER, devices())):
        told = prepare_port(asked, MACHINE, found, switch_simulated=False, agent=options)
        assert told.facts == prepare_port(asked, MACHINE, found, switch_simulated=False).facts
        pairs = list(zip(planned(asked, found), told.plan, strict=True))
        ((plain, step),) = [(old, new) for old, new in pairs if old != new]
        assert isinstance(plain, AgentPort)
        port = replace(plain.port, type=PortType.NAMESPACE, rx_vlan=7, tx_vlan=8)
        assert step == replace(plain, port=port, persist=False, socket_wait=3.0)


@pytest.mark.parametrize(
    ("vnic_type", "parts"),
    [
        (VnicType.NORMAL, ()),
        (VnicType.DIRECT, ("vf", "eswitch", "passthrough")),
        (VnicType.VIRTIO_FORWARDER, ("vf", "eswitch")),
    ],
)
def test_what_is_simulated(vnic_type: VnicType, parts: tuple[str, ...]) -> None:
    """The facts name the simulated parts, the switch among them where it says that it is one."""
    asked = {
        VnicType.NORMAL: NORMAL,
        VnicType.DIRECT: DIRECT,
        VnicType.VIRTIO_FORWARDER: FORWARDER,
    }[vnic_type]
    found = None if vnic_type is VnicType.NORMAL else devices()
    for simulated in (False, True):
        facts = prepare_port(asked, MACHINE, found, switch_simulated=simulated).facts
        assert facts.simulated == parts + ("vrouter",) * simulated


def test_a_tap_of_the_hypervisors() -> None:
    """A normal port is told to the agent by its tap's name; libvirt makes the tap later."""
    assert planned(NORMAL) == (AgentPort(port=TOLD, deferrable=True),)


def test_a_tap_of_ours() -> None:
    """Where the VIF has us make the tap, it is there and up before the agent hears of it."""
    ours = dataclasses.replace(NORMAL, profile=PortProfile(kind=ProfileKind.BASE, create_tap=True))
    assert planned(ours) == (
        Tap(name=TAP, mac=MAC),
        LinkUp(name=TAP, mtu=1450),
        AgentPort(port=TOLD, deferrable=True),
    )


def test_a_socket_that_qemu_serves() -> None:
    """The DPDK vRouter connects to QEMU's socket, which cannot be there yet."""
    told = dataclasses.replace(TOLD, vhostuser_mode=1)
    assert planned(dpdk("server")) == (AgentPort(port=told),)


def test_a_socket_that_the_vrouter_serves() -> None:
    """The DPDK vRouter makes the socket: the port is there when the socket is."""
    assert planned(dpdk("client")) == (AgentPort(port=TOLD, socket=SOCKET),)


def test_passthrough() -> None:
    """The agent is told the representor that the VF has, and not the name that Nova asks for."""
    told = AgentPort(port=dataclasses.replace(TOLD, netdev="p0r1"))
    up = LinkUp(name="p0r1", mtu=1450)
    assert DIRECT.profile is not None
    assert DIRECT.profile.offload is not None
    assert DIRECT.profile.offload.representor_name == TAP
    assert planned(DIRECT, devices(simulated=False)) == (up, told)
    assert planned(DIRECT, devices()) == (
        SimulatedVfSettings(netdev="p0v1", mac=MAC, mtu=1450),
        up,
        told,
        Tap(name=TAP, mac=MAC),
        SimulatedPassthrough(netdev="p0v1", tap=TAP, mtu=1450),
    )


def test_forwarder() -> None:
    """The agent is told the representor, and the VF is relayed to the guest's socket."""
    told = dataclasses.replace(TOLD, netdev="p0r1", vhostuser_mode=1)
    assert planned(FORWARDER, devices()) == (
        SimulatedVfSettings(netdev="p0v1", mac=MAC, mtu=1450),
        LinkUp(name="p0r1", mtu=1450),
        AgentPort(port=told),
        ForwarderRelay(spec=RelaySpec(port_id=ID, netdev="p0v1", socket=SOCKET, mtu=1450)),
    )


def test_mtu() -> None:
    """Where the network says nothing, the representor gets the default."""
    silent = planned(vif(VnicType.DIRECT, mtu=None), devices(simulated=False))
    assert silent[0] == LinkUp(name="p0r1", mtu=DEFAULT_MTU)


@pytest.mark.parametrize(
    ("ips", "ip", "ip6"),
    [
        ((), None, None),
        (("10.0.0.5", "10.0.0.6"), "10.0.0.5", None),
        (("2001:DB8::5", "10.0.0.5", "2001:db8::6"), "10.0.0.5", "2001:db8::5"),
    ],
)
def test_addresses(ips: tuple[str, ...], ip: str | None, ip6: str | None) -> None:
    """The agent knows the first address of each version, where there is one."""
    (told,) = planned(vif(ips=ips))
    assert isinstance(told, AgentPort)
    assert (told.port.ip, told.port.ip6) == (ip, ip6)


@pytest.mark.parametrize(
    ("project", "told"),
    [(PROJECT, TOLD.project), (TOLD.project, TOLD.project), (None, None), ("demo", None)],
)
def test_projects(project: str | None, told: str | None) -> None:
    """Keystone's projects are UUIDs without dashes; what is no UUID is none to the agent."""
    (step,) = plan(NORMAL, machine=dataclasses.replace(MACHINE, project=project))
    assert isinstance(step, AgentPort)
    assert step.port.project == told


def test_identifiers_in_capitals() -> None:
    """The agent routes by lower-case UUIDs only, and takes no others for the same."""
    (step,) = planned(dataclasses.replace(NORMAL, id=ID.upper()))
    assert isinstance(step, AgentPort)
    assert step.port.id == ID


@pytest.mark.parametrize("wrong", ["network", "machine", "VIF"])
def test_identifiers_that_are_none(wrong: str) -> None:
    """What the agent would take for the nil UUID is refused before anything is done."""
    bad, machine = NORMAL, MACHINE
    if wrong == "network":
        bad = dataclasses.replace(NORMAL, network=Network(id="net1"))
    elif wrong == "VIF":
        bad = dataclasses.replace(NORMAL, id="port1")
    else:
        machine = dataclasses.replace(MACHINE, uuid="vm1")
    with pytest.raises(Invalid, match="is not a UUID") as caught:
        plan(bad, machine=machine)
    assert wrong in caught.value.where


def test_a_vf_that_is_not_of_this_host() -> None:
    """A VIF with a VF has no plan on a host that does not have the VF."""
    for asked in (DIRECT, FORWARDER):
        with pytest.raises(Invalid, match="no VF of this host"):
            planned(asked)


@pytest.mark.parametrize("plugin", ["vrouter", "contrail_vrouter"])
def test_both_names_are_one_switch(plugin: str) -> None:
    """The alias plugs by the same plans."""
    asked = dataclasses.replace(DIRECT, plugin=plugin)
    assert switch_of(asked) is VROUTER
    assert planned(asked, devices()) == planned(DIRECT, devices())


@pytest.mark.parametrize("trusted", [True, False])
def test_a_vf_in_the_nics_own_switch(trusted: bool) -> None:
    """A VF on a provider's segment is libvirt's to program; only trust is set, by its PF."""
    network = Network(id=NETWORK, vlan=7)
    port = Port(
        id=ID,
        mac=MAC,
        network=network,
        vnic_type=VnicType.DIRECT,
        vf=VF,
        needs=Needs(trusted=trusted),
    )
    asked = build_vif(port, bind_vrouter(port, VRouterHost(name="h")))
    assert switch_of(asked) is NIC
    found = dataclasses.replace(devices(simulated=False), representor=None, uplink="ens3f0")
    admin = VfAdmin(mac=MAC, vlan=7, trusted=True)
    wanted = (VfAdminSettings(pf="ens3f0", number=1, wanted=admin),) if trusted else ()
    assert planned(asked, found) == wanted
    if trusted:
        with pytest.raises(Invalid, match="none is known"):
            planned(asked)
    assert "<tag id='7'/>" in interface_xml(asked).replace('"', "'").replace(" />", "/>")


def test_no_plan() -> None:
    """A shape that the vRouter does not know is refused with both names."""
    bridge = dataclasses.replace(NORMAL, profile=DIRECT.profile)
    with pytest.raises(Invalid, match="vRouter has no plan for a VIFGeneric with a VF"):
        planned(bridge, devices())
