"""Which devices Nova's PCI tracker finds for a machine's ports, beside ours.

Nova's real tracker, its real requests and its real filters run. Where the two disagree the reason
is one on record, and is shown: Nova agrees once it is asked differently, or we do once we are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nova import context, exception, objects
from nova.pci import stats as nova_stats

from smartvif.choose.selection.request import DeviceType
from smartvif.choose.selection.select import Selection
from smartvif.model.choices import NumaPolicy
from smartvif.model.port import VifType, VnicType
from tests.support.nova.hosts import Function, SmartNic, cells, restarted, tracker
from tests.support.nova.neutron_ports import Case, neutron_stood_in, nova_requests, segment
from tests.support.nova.selection import DIFFERENCES, LEFT, NULL, UNSAID, WHOLE, Machine, nic, port

EXAMPLES = 1500
MACHINE = "5b1c3f7e-8a52-4c0e-b1d4-2f6a7e9d0c13"


@pytest.fixture(autouse=True, scope="module")
def nova() -> Any:
    """Nova, and a Neutron for it."""
    with neutron_stood_in():
        yield


def asked(ports: Sequence[Case]) -> list[Any]:
    """What Nova asks for."""
    return [each for port in ports for each in nova_requests(port)]


def supports(stats: Any, machine: Machine) -> bool:
    """Whether Nova's scheduler would take the host."""
    return bool(stats.support_requests(asked(machine.ports), None, cells(machine.nodes)))


def claim(of: Any, ports: Sequence[Case], nodes: Sequence[int] = ()) -> list[str]:
    """What Nova's compute service takes for a machine: the addresses.

    Raises: PciDeviceRequestFailed.
    """
    wanted = objects.InstancePCIRequests(instance_uuid=MACHINE, requests=asked(ports))
    topology = objects.InstanceNUMATopology(cells=cells(nodes)) if nodes else None
    return [
        device.address
        for device in of.claim_instance(context.get_admin_context(), wanted, topology)
    ]


SEEN = ("unsaid-network", "eswitch-mode")
ASKED = ("not-trusted", "no-numa-policy")


def difference(machine: Machine, patch: pytest.MonkeyPatch) -> str | None:
    """Why Nova and we disagree; None, where we do not.

    Every reason is looked into: an answer that none explains is an error.
    """
    ours, of_host = machine.ours(), tracker(machine.nics, patch)
    theirs = supports(of_host.stats, machine)
    if theirs == (ours.problem is None):
        return None
    if theirs:
        return nova_is_rash(machine, of_host)
    return nova_is_blocked(machine, of_host.stats, ours)


def nova_is_rash(machine: Machine, of_host: Any) -> str:
    """Why Nova takes a host where we find nothing."""
    for name in SEEN:
        if machine.as_nova_would(name).problem is None:
            return name
    if machine.as_nova_would(*SEEN).problem is None:
        return " and ".join(SEEN)
    # What the scheduler took for possible is not, when it comes to the devices themselves.
    with pytest.raises(exception.PciDeviceRequestFailed):
        claim(of_host, machine.ports, machine.nodes)
    wanted = {each.device for each in machine.requests()}
    assert DeviceType.PF in wanted
    assert len(wanted) > 1
    return "whole-and-parts"


def nova_is_blocked(machine: Machine, stats: Any, ours: Selection) -> str:
    """Why Nova finds nothing where we do."""
    for name in ASKED:
        if supports(stats, machine.as_we_would(name)):
            return name
    mended = machine.as_we_would(*ASKED)
    if supports(stats, mended):
        return " and ".join(ASKED)
    # What we have chosen Nova would take as well, were there nothing else.
    for each, choice in zip(mended.ports, ours.choices, strict=True):
        alone = nova_stats.PciDeviceStats(stats.numa_topology, dev_filter=stats.dev_filter)
        functions = {str(address) for address in choice.pool.functions}
        for device in stats.get_free_devs():
            if device.address in functions:
                alone.add_device(device)
        assert supports(alone, replace(mended, ports=(each,)))
    if all(supports(stats, replace(mended, ports=(port,))) for port in mended.ports):
        return "first-come"
    assert machine.nodes
    return "kind-after-node"


EXPLAINED = {*SEEN, *ASKED, " and ".join(SEEN), " and ".join(ASKED)} | {
    "whole-and-parts",
    "first-come",
    "kind-after-node",
}
NETWORKS = (segment("vxlan"), segment("vlan", "left"), segment("flat", "right"))
OF_VFS = (VnicType.DIRECT, VnicType.VIRTIO_FORWARDER)


@st.composite
def hosts(draw: st.DrawFn, is_switchdev: bool) -> tuple[SmartNic, ...]:
    """One to four PFs with up to eight VFs each, most of them in one eswitch mode."""

    def mostly(usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from([usual] * 6 + list(others)))

    def tags(*, remote: bool) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        network = draw(st.sampled_from([None, None, "left", "left", "LEFT", "right", "unsaid"]))
        trusted = draw(st.sampled_from([None, "true", "false"]))
        if network != "unsaid":
            found["physical_network"] = network
        if trusted is not None:
            found["trusted"] = trusted
        if remote and mostly(False, True):
            found["remote_managed"] = "true"
        return found

    nics = []
    for number in range(draw(st.integers(1, 4))):
        alike = tags(remote=True)
        vfs = [
            Function(
                tags=mostly(alike, tags(remote=True), None),
                is_vdpa=mostly(False, True),
                is_taken=mostly(False, True),
            )
            for _ in range(draw(st.sampled_from([3, 8, 2, 1, 1, 0])))
        ]
        nics.append(
            SmartNic(
                number=number,
                vfs=tuple(vfs),
                tags=draw(st.none() | st.just(tags(remote=False))),
                numa_node=draw(st.sampled_from([0, 0, None, 1, 2])),
                is_switchdev=mostly(is_switchdev, not is_switchdev),
            )
        )
    return tuple(nics)


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """A host and one to four ports; each of them is made for some device that is there."""

    def mostly(usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from([usual] * 6 + list(others)))

    is_switchdev = mostly(True, False)
    nics = draw(hosts(is_switchdev))
    whole = [(nic.tags, (VnicType.DIRECT_PHYSICAL,)) for nic in nics if nic.tags is not None]
    aims = whole + [
        (each.tags, (VnicType.VDPA,) if each.is_vdpa else OF_VFS)
        for nic in nics
        for each in nic.vfs
        if each.tags is not None and not each.is_taken
    ]
    ports = []
    for _ in range(draw(st.integers(1, 4))):
        tags, kinds = draw(st.sampled_from(aims or [({}, OF_VFS)]))
        network = (tags.get("physical_network") or "").lower()
        fitting = next(
            each for each in NETWORKS if (each["provider:physical_network"] or "") == network
        )
        kind = VnicType.REMOTE_MANAGED if "remote_managed" in tags else draw(st.sampled_from(kinds))
        ports.append(
            Case(
                vnic_type=mostly(kind, VnicType.DIRECT, VnicType.MACVTAP),
                segments=(mostly(fitting, *NETWORKS),),
                trusted=mostly(None, True if tags.get("trusted") == "true" else None, False),
                policy=mostly(NumaPolicy.PREFERRED, None, *NumaPolicy),
            )
        )
    return Machine(
        nics=nics,
        ports=tuple(ports),
        vif_type=VifType.OVS if is_switchdev else VifType.HW_VEB,
        nodes=draw(st.sampled_from([(), (), (0,), (0, 1), (2,)])),
    )


def test_any_machine_on_any_host() -> None:
    """Both find devices for a machine or neither does, but for the differences on record."""
    found = Counter[str | None]()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(machines())
    def each(machine: Machine) -> None:
        with pytest.MonkeyPatch.context() as patch:
            name = difference(machine, patch)
        # What both find is as much a case of its own as what both do not.
        found[name or ("yes" if machine.ours().problem is None else "no")] += 1

    each()
    assert found.keys() <= EXPLAINED | {"yes", "no"}
    assert found["yes"] > EXAMPLES / 10
    assert found["no"] > EXAMPLES / 10
    assert len(found) > 5


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each recorded difference is true of Nova and of ours, in a case that shows it alone."""
    assert difference(DIFFERENCES[name], monkeypatch) == name


def test_every_difference_has_an_example() -> None:
    """None is told that is not shown."""
    assert DIFFERENCES.keys() == {name for name in EXPLAINED if " and " not in name}


def test_a_port_takes_what_only_another_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova goes port by port, and fails or not by the order in which they come; we do not."""
    machine = DIFFERENCES["first-come"]
    near, far = machine.nics
    anywhere, required = machine.ports
    for ports, works in (((anywhere, required), False), ((required, anywhere), True)):
        ordered = replace(machine, ports=ports)
        of_host = tracker(machine.nics, monkeypatch)
        assert supports(of_host.stats, ordered) == works
        for each in ports:
            assert supports(of_host.stats, replace(machine, ports=(each,)))
        chosen = [choice.pool.pf for choice in ordered.ours().choices]
        expected = [far.address, near.address]
        assert chosen == (expected if ports[0] is anywhere else expected[::-1])


def test_a_trusted_pf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PF that may be trusted can be had as a whole by a port that is."""
    wanted = port("left", trusted=True, **WHOLE)
    for tags, works in ((LEFT | {"trusted": "true"}, True), (LEFT, False)):
        machine = Machine(nics=(nic(0, 1, LEFT, tags=tags),), ports=(wanted,))
        assert supports(tracker(machine.nics, monkeypatch).stats, machine) == works
        assert (machine.ours().problem is None) == works


GPU, QAT = ("10de", "25b6"), ("8086", "4941")


def test_a_guest_gets_a_gpu_for_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova gives a port on a tunnelled network what was allowed for other ends; we say why not."""
    strangers = tuple(
        SmartNic(
            number=number,
            vfs=(Function(tags=UNSAID),) * 2,
            vendor=vendor,
            vf_product=product,
        )
        for number, (vendor, product) in enumerate((GPU, QAT))
    )
    card = nic(2, 2, NULL)
    machine = Machine(nics=(*strangers, card), ports=(port(), port(), port()))
    of_host = tracker(machine.nics, monkeypatch)
    assert supports(of_host.stats, machine)
    taken = claim(of_host, machine.ports)
    # Of a pool Nova takes the last, and first of those of which the allow-list says least.
    gpu, qat = strangers
    assert taken == [str(gpu.vf(1)), str(gpu.vf(0)), str(qat.vf(1))]

    ours = replace(machine, ports=machine.ports[:2]).ours()
    assert [choice.pool.pf for choice in ours.choices] == [card.address] * 2
    refused = machine.ours()
    assert refused.problem is not None
    alone = replace(machine, nics=strangers).ours()
    assert alone.problem is not None
    words = "the allow-list says no physical_network of it; for tunnels it must say null"
    told = {
        pool.pf: reason
        for pool, reason in zip(alone.pools, alone.reasons[0], strict=True)
        if pool.device is DeviceType.VF
    }
    assert told == {each.address: words for each in strangers}


def test_a_pf_is_lost_by_a_claim_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Nova cannot claim all that a machine needs, a PF is out of reach until a restart."""
    card = nic(0, 2, LEFT, tags=LEFT)
    of_host = tracker([card], monkeypatch)
    whole = Machine(nics=(card,), ports=(port("left", **WHOLE),))
    assert supports(of_host.stats, whole)
    with pytest.raises(exception.PciDeviceRequestFailed):
        claim(of_host, [port("left"), port("right")])
    # Nobody has anything, the VFs can be had, and the PF is said to be available.
    assert {device.status for device in of_host.pci_devs} == {"available"}
    assert supports(of_host.stats, replace(whole, ports=(port("left"), port("left"))))
    assert not supports(of_host.stats, whole)
    with pytest.raises(exception.PciDeviceRequestFailed):
        claim(of_host, whole.ports)
    again = restarted(of_host.pci_devs.objects, [card], monkeypatch)
    assert supports(again.stats, whole)
    assert whole.ours().problem is None
