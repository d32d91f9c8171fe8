"""The steps that each VIF is plugged by, and that the journal can hold every step."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import re
import typing
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.drivers.ovs.rows import OvsPortSpec, PortVlan
from smartvif.host.sriov import Vf
from smartvif.host.vf_info import VfAdmin
from smartvif.model.errors import CannotTell, Failed, Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Network, Port, VifType, VnicType
from smartvif.model.vif import Machine, PortProfile, ProfileKind, SocketMode, Vif
from smartvif.plug import steps
from smartvif.plug.plans.inputs import PortDevices
from smartvif.plug.steps import codec
from smartvif.plug.steps.links import HybridBridge, Tap
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings
from smartvif.plug.steps.step import Plan, Step
from smartvif.plug.steps.vf import VfAdminSettings, VfioBinding
from smartvif.switches.build_vif import build_vif
from smartvif.switches.plan import plan
from tests.support.values import ADDRESSES

ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
TAP = "tap0d9a1b2c-3e"
MAC = "52:54:00:12:34:56"
VM = "5f1b6a3e-0000-4000-8000-000000000001"
MACHINE = Machine(uuid=VM, name="web")
VF = PciAddress.parse("0000:04:00.1")
SOCKET = "/run/vhu/guest.sock"
IDS = {"iface-id": ID, "iface-status": "active", "attached-mac": MAC, "vm-uuid": VM}

Details = dict[str, str | bool]


def devices(*, simulated: bool, netdev: str | None = "p0v1") -> PortDevices:
    found = Vf(
        address=VF,
        pf=PciAddress.parse("0000:03:00.0"),
        number=1,
        vendor="15b3",
        device="101e",
        driver="mlx5_core" if netdev else "vfio-pci",
        iommu_group=None,
        numa_node=None,
        netdev=netdev,
        simulated=simulated,
    )
    return PortDevices(vf=found, representor="p0r1", uplink="ens3f0")


def vif(
    vif_type: VifType = VifType.OVS,
    vnic_type: VnicType = VnicType.NORMAL,
    *,
    mtu: int | None = 1450,
    vlan: int | None = 5,
    **details: str | bool,
) -> Vif:
    network = Network(id="n", bridge="br-int", vlan=vlan, mtu=mtu)
    port = Port(id=ID, mac=MAC, network=network, vnic_type=vnic_type, vf=VF)
    socket: Details = {"vhostuser_socket": SOCKET, "vhostuser_ovs_plug": True}
    return build_vif(port, Binding(vif_type=vif_type, details=socket | details))


TAPPED = vif(ovs_create_tap=True)
AWAITED = vif()
LIBVIRTS = dataclasses.replace(AWAITED, profile=PortProfile(kind=ProfileKind.OPENVSWITCH))
HYBRID = vif(ovs_hybrid_plug=True)
VHOST_USER = vif(VifType.VHOSTUSER)
DIRECT = vif(VifType.OVS, VnicType.DIRECT)
FORWARDER = vif(VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER)
REAL, SIMULATED = devices(simulated=False), devices(simulated=True)


def planned(asked: Vif, found: PortDevices | None = None) -> Plan:
    return plan(asked, machine=MACHINE, devices=found)


def switch_port(made: Plan) -> OvsPortSpec:
    (found,) = (step.spec for step in made if isinstance(step, SwitchPort))
    return found


@pytest.mark.parametrize(
    ("asked", "found", "kinds"),
    [
        (TAPPED, None, [Tap, SwitchPort]),
        (vif(VifType.AGILIO_OVS, ovs_create_tap=True), None, [Tap, SwitchPort]),
        (AWAITED, None, [SwitchPort]),
        (LIBVIRTS, None, []),
        (HYBRID, None, [HybridBridge, SwitchPort]),
        (VHOST_USER, None, [SwitchPort]),
        (DIRECT, REAL, [VfAdminSettings, SwitchPort]),
        (vif(VifType.OVS, VnicType.VDPA), REAL, [VfAdminSettings, SwitchPort]),
        (vif(VifType.AGILIO_OVS, VnicType.DIRECT), REAL, [VfAdminSettings, SwitchPort]),
        (
            DIRECT,
            SIMULATED,
            [SimulatedVfSettings, SwitchPort, Tap, SimulatedPassthrough],
        ),
        (FORWARDER, SIMULATED, [SimulatedVfSettings, SwitchPort, ForwarderRelay]),
    ],
)
def test_the_steps_of_each_shape(asked: Vif, found: PortDevices | None, kinds: list[type]) -> None:
    """Each VIF has its steps in this order, and the order is the same each time."""
    made = planned(asked, found)
    assert [type(step) for step in made] == kinds
    assert made == planned(asked, found)


def test_a_tap() -> None:
    """The tap has the guest's address, and is the switch's port with the network's MTU."""
    assert planned(TAPPED) == (
        Tap(name=TAP, mac=MAC),
        SwitchPort(
            spec=OvsPortSpec(bridge="br-int", name=TAP, owner=ID, external_ids=IDS, tag=5),
            mtu=1450,
        ),
    )


def test_a_tap_that_comes_later() -> None:
    """A tap that libvirt will make is awaited by the switch, which will give it its MTU."""
    (made,) = planned(AWAITED)
    assert made == SwitchPort(
        spec=OvsPortSpec(
            bridge="br-int",
            name=TAP,
            owner=ID,
            external_ids=IDS,
            tag=5,
            mtu_request=1450,
            awaited=True,
        )
    )


def test_what_an_awaited_port_may_fail_with() -> None:
    """Only that its own netdev is absent, and only where it is awaited."""
    absent = f"could not open network device {TAP} (No such device)"
    spec = switch_port(planned(AWAITED))
    assert spec.may_fail_with(absent)
    assert not dataclasses.replace(spec, awaited=False).may_fail_with(absent)
    for error in (
        None,
        "",
        f"could not open network device {TAP} (Operation not permitted)",
        "could not open network device tap (No such device)",
        f"could not add network device {TAP} to ofproto (Too many links)",
    ):
        assert not spec.may_fail_with(error)


def test_queues() -> None:
    """A VIF with more than one queue gets a tap with more than one."""
    assert TAPPED.profile is not None
    queues = dataclasses.replace(TAPPED.profile, multiqueue=True)
    made = planned(dataclasses.replace(TAPPED, profile=queues))
    assert made[0] == Tap(name=TAP, mac=MAC, multi_queue=True)


def test_a_hybrid_bridge() -> None:
    """The switch gets the far end of the veth, not the guest's tap."""
    made = planned(HYBRID)
    assert made[0] == HybridBridge(
        bridge="qbr0d9a1b2c-3e", inner="qvb0d9a1b2c-3e", outer="qvo0d9a1b2c-3e", mtu=1450
    )
    assert (switch_port(made).bridge, switch_port(made).name) == ("br-int", "qvo0d9a1b2c-3e")


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        (SocketMode.SERVER, "dpdkvhostuserclient", {"vhost-server-path": SOCKET}),
        (SocketMode.CLIENT, "dpdkvhostuser", {}),
    ],
)
def test_a_socket_of_the_switch(mode: SocketMode, kind: str, options: dict[str, str]) -> None:
    """The switch is at the other end of the socket than QEMU, with the MTU that it cannot see."""
    made = switch_port(planned(vif(VifType.VHOSTUSER, vhostuser_mode=mode.value)))
    assert (made.type, made.options, made.mtu_request) == (kind, options, 1450)
    assert (made.name, made.tag, made.external_ids) == ("vhu0d9a1b2c-3e", 5, IDS)


@pytest.mark.parametrize("path", ["", "vhu/guest.sock", "/run/" + "d" * 103, "/run/a\0b", None])
@pytest.mark.parametrize("mode", SocketMode)
def test_a_socket_that_cannot_be(path: str | None, mode: SocketMode) -> None:
    """No switch has a plan for a path that no socket can have, whichever end the guest is."""
    for asked, found in ((VHOST_USER, None), (FORWARDER, SIMULATED)):
        with pytest.raises(Invalid):
            planned(dataclasses.replace(asked, path=path, mode=mode), found)


def test_a_passed_through_vf() -> None:
    """On hardware the representor is plugged, and by its PF the VF gets trust or loses it.

    All else of the VF is libvirt's. Where the controller does not say whether it is trusted, or
    nothing can be set and nothing must be, the VF is not touched.
    """
    trusted = dataclasses.replace(DIRECT, trusted=True)
    for asked, wanted in (
        (DIRECT, VfAdmin(mac=None, spoof_check=True, trusted=False)),
        (trusted, VfAdmin(mac=None, trusted=True)),
    ):
        admin, _ = planned(asked, REAL)
        assert admin == VfAdminSettings(pf="ens3f0", number=1, wanted=wanted)
    without = dataclasses.replace(REAL, uplink=None)
    with pytest.raises(Invalid, match=r"the trust of VF .* its PF's netdev, and .* has none"):
        planned(trusted, without)
    untold = planned(dataclasses.replace(DIRECT, trusted=None), REAL)
    assert planned(DIRECT, without) == untold
    assert untold == (
        SwitchPort(
            spec=OvsPortSpec(
                bridge="br-int",
                name="p0r1",
                owner=ID,
                external_ids=IDS | {"smartvif-vf": str(VF)},
                tag=5,
            ),
            mtu=1450,
        ),
    )
    assert planned(DIRECT, devices(simulated=False, netdev=None)) == planned(DIRECT, REAL)


def test_a_simulated_passthrough() -> None:
    """A simulated VF has the guest's address, and is joined to a tap in the guest's name."""
    settings, _, tap, joined = planned(DIRECT, SIMULATED)
    assert settings == SimulatedVfSettings(netdev="p0v1", mac=MAC, mtu=1450)
    assert tap == Tap(name=TAP, mac=MAC)
    assert joined == SimulatedPassthrough(netdev="p0v1", tap=TAP, mtu=1450)


def test_a_forwarder() -> None:
    """The forwarder joins the VF to the guest's socket; the switch has the representor."""
    made = planned(FORWARDER, SIMULATED)
    assert made[-1] == ForwarderRelay(
        spec=RelaySpec(port_id=ID, netdev="p0v1", socket=SOCKET, mtu=1450)
    )
    assert switch_port(made).name == "p0r1"


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ("tap", None),
        ("awaited", None),
        ("hybrid", None),
        ("real", REAL),
        ("simulated", SIMULATED),
    ],
)
def test_the_mtu_where_the_network_says_none(shape: str, found: PortDevices | None) -> None:
    """Every device gets 1500 bytes where the network has no MTU."""
    asked = {
        "tap": vif(mtu=None, ovs_create_tap=True),
        "awaited": vif(mtu=None),
        "hybrid": vif(mtu=None, ovs_hybrid_plug=True),
        "real": vif(VifType.OVS, VnicType.DIRECT, mtu=None),
        "simulated": vif(VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER, mtu=None),
    }[shape]
    dumped = json.dumps([codec.dump(step) for step in planned(asked, found)])
    assert set(re.findall(r'"mtu(?:_request)?": (\w+)', dumped)) - {"null"} == {"1500"}


@pytest.mark.parametrize("vlan", [None, 1, 4094])
def test_the_vlan(vlan: int | None) -> None:
    """The switch's port is in the network's VLAN, or in none."""
    for asked, found in (
        (vif(vlan=vlan), None),
        (vif(VifType.OVS, VnicType.DIRECT, vlan=vlan), REAL),
        (vif(VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER, vlan=vlan), SIMULATED),
    ):
        assert switch_port(planned(asked, found)).tag == vlan


def test_whose_the_vlan_is() -> None:
    """Where the network says none: an agent's, where there is one, and else there is to be none."""
    for asked, found in ((TAPPED, None), (DIRECT, REAL)):
        network = dataclasses.replace(asked.network, vlan=None)
        bare = dataclasses.replace(asked, network=network)
        assert switch_port(planned(bare, found)).no_vlan
        told = plan(bare, machine=MACHINE, devices=found, agent_sets_vlan=True)
        assert switch_port(told).vlan is None
        for agent in (False, True):
            told = plan(asked, machine=MACHINE, devices=found, agent_sets_vlan=agent)
            assert switch_port(told).vlan == PortVlan(tag=5)


@pytest.mark.parametrize("asked", [TAPPED, AWAITED, HYBRID, VHOST_USER])
def test_the_identifiers_of_a_port_without_a_vf(asked: Vif) -> None:
    """Such a port has the four identifiers that os-vif gives, and names no VF."""
    assert switch_port(planned(asked)).external_ids == IDS


@pytest.mark.parametrize(
    ("asked", "found"), [(DIRECT, REAL), (DIRECT, SIMULATED), (FORWARDER, SIMULATED)]
)
def test_the_identifiers_of_a_port_with_a_vf(asked: Vif, found: PortDevices) -> None:
    """Such a port also names its VF, so that it can be found when its representor has gone."""
    assert switch_port(planned(asked, found)).external_ids == IDS | {"smartvif-vf": str(VF)}
    assert switch_port(planned(asked, found)).owner == ID


def test_the_identifier_is_the_profiles() -> None:
    """Where the profile has an interface identifier of its own, the switch learns that one."""
    assert TAPPED.profile is not None
    profile = dataclasses.replace(TAPPED.profile, interface_id="other")
    spec = switch_port(planned(dataclasses.replace(TAPPED, profile=profile)))
    assert (spec.external_ids["iface-id"], spec.owner) == ("other", ID)


@pytest.mark.parametrize("asked", [DIRECT, FORWARDER])
def test_a_vf_that_is_not_of_this_host(asked: Vif) -> None:
    """A VIF with a VF has no plan on a host that does not have the VF."""
    with pytest.raises(Invalid, match="no VF of this host") as caught:
        planned(asked)
    assert ID in caught.value.where


def test_no_plan() -> None:
    """A VF that the SmartNIC's own controller plugs has no plan here."""
    remote = vif(VifType.OVS, VnicType.REMOTE_MANAGED)
    with pytest.raises(Invalid, match="no switch goes with the plugin 'noop'"):
        planned(remote, REAL)


def test_a_network_without_a_bridge() -> None:
    """A VIF that names no bridge has no plan, not even an empty one."""
    for asked in (DIRECT, LIBVIRTS):
        bare = dataclasses.replace(asked, network=Network(id="n"), bridge_name=None)
        with pytest.raises(Invalid, match="names no bridge"):
            planned(bare, REAL if asked is DIRECT else None)


def test_a_real_vf_for_the_forwarder() -> None:
    """It is bound to vfio-pci, then gets the guest's address by its PF; the relay has its own."""
    for trust, spoof_check in ((None, None), (True, None), (False, True)):
        asked = dataclasses.replace(FORWARDER, trusted=trust)
        binding, admin, in_switch, relayed = planned(asked, REAL)
        assert binding == VfioBinding(vf=VF)
        wanted = VfAdmin(mac=MAC, spoof_check=spoof_check, trusted=trust)
        assert admin == VfAdminSettings(pf="ens3f0", number=1, wanted=wanted)
        assert switch_port((in_switch,)).name == "p0r1"
        assert relayed == ForwarderRelay(
            spec=RelaySpec(port_id=ID, pci=VF, socket=SOCKET, mtu=1450)
        )


def test_a_real_vf_that_the_forwarder_has() -> None:
    """Planned again when the VF has lost its netdev, it is the same plan."""
    taken = devices(simulated=False, netdev=None)
    assert planned(FORWARDER, taken) == planned(FORWARDER, REAL)


def test_a_real_vf_whose_pf_has_no_netdev() -> None:
    """Its address cannot be set, and so it has no plan."""
    found = dataclasses.replace(REAL, uplink=None)
    with pytest.raises(Invalid, match=r"its PF's netdev, and 0000:03:00\.0 has none"):
        planned(FORWARDER, found)


def test_a_forwarder_for_a_guest_that_connects() -> None:
    """The forwarder connects to QEMU: a VIF whose QEMU connects as well has no plan."""
    client = vif(VifType.AGILIO_OVS, VnicType.VIRTIO_FORWARDER, vhostuser_mode="client")
    with pytest.raises(Invalid, match="server"):
        planned(client, SIMULATED)


def test_a_vf_that_something_else_has() -> None:
    """A simulated VF without its netdev cannot be joined to anything; its driver is the hint."""
    with pytest.raises(Failed, match="has no netdev here") as caught:
        planned(DIRECT, devices(simulated=True, netdev=None))
    assert "vfio-pci" in caught.value.hint


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Every value of a type; of a dataclass, also in those fields that have a default."""
    if hint is float:
        return st.floats(allow_nan=False)  # which equals not even itself
    if hint in {PciAddress, PciAddress | None}:
        return ADDRESSES if hint is PciAddress else st.none() | ADDRESSES
    if typing.get_origin(hint) is Mapping:
        return st.dictionaries(st.text(), st.text())
    if not dataclasses.is_dataclass(hint):
        return st.from_type(hint)
    hints = typing.get_type_hints(hint)
    named = {field.name: values_of(hints[field.name]) for field in dataclasses.fields(hint)}
    return st.builds(typing.cast(Any, hint), **named)


@pytest.mark.parametrize("kind", codec._KINDS.values(), ids=codec._KINDS)
def test_the_journal_can_hold_every_step(kind: Any) -> None:
    """Each kind of step is the same after it has been written as JSON and read again."""

    @given(values_of(kind))
    def there_and_back(step: Step) -> None:
        name, values = codec.dump(step)
        assert codec.load(name, json.loads(json.dumps(values))) == step

    there_and_back()


def test_the_journal_knows_every_step() -> None:
    """No kind of step is missing in the table that the journal reads by."""
    names = [each.name for each in pkgutil.iter_modules(steps.__path__)]
    modules = [importlib.import_module(f"{steps.__name__}.{name}") for name in names]
    found = {
        getattr(kind, "KIND", None)
        for module in modules
        for kind in vars(module).values()
        if dataclasses.is_dataclass(kind) and hasattr(kind, "undo")
    }
    assert found == codec._KINDS.keys()


@pytest.mark.parametrize(
    ("kind", "values"),
    [("Novelty", {}), ("Tap", {"name": "t"}), ("Relay", {"spec": {"speed": 1}})],
)
def test_a_step_of_another_version(kind: str, values: dict[str, Any]) -> None:
    """A step that this version cannot read is said so, with what to do."""
    with pytest.raises(CannotTell, match=kind) as caught:
        codec.load(kind, values)
    assert "version" in caught.value.hint
