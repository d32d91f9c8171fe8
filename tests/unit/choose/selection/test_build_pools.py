"""Pools from what is known of SmartNICs and from the allow-list."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartvif.choose.allow_list.match import Rules
from smartvif.choose.allow_list.spec import parse
from smartvif.choose.selection.build_pools import PfInventory, build_pools
from smartvif.choose.selection.device_use import DeviceUsers
from smartvif.choose.selection.pool import Pool, mismatch
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.host.sriov import EswitchMode, Pf, Vf
from smartvif.model import traits
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType

PF = PciAddress(0, 3, 0, 0)
DIRECT = traits.vnic_type(VnicType.DIRECT)
FORWARDER = traits.vnic_type(VnicType.VIRTIO_FORWARDER)
ASKED = DeviceRequest(id="port", device=DeviceType.VF)


def vf(number: int) -> Vf:
    return Vf(
        address=PciAddress(0, 4, 0, number),
        pf=PF,
        number=number,
        vendor="15b3",
        device="101e",
        driver="mlx5_core",
        iommu_group=number,
        numa_node=0,
        netdev=f"p0v{number}",
        simulated=False,
    )


def card(*vfs: Vf, **about: object) -> PfInventory:
    pf = Pf(
        address=PF,
        vendor="15b3",
        device="101d",
        driver="mlx5_core",
        numa_node=0,
        netdev="p0",
        total_vfs=8,
        num_vfs=len(vfs),
        switch_id="01",
        eswitch=EswitchMode.SWITCHDEV,
        simulated=False,
        vfs=vfs,
    )
    known = PfInventory(
        pf=pf,
        traits=frozenset({traits.SRIOV, traits.SWITCHDEV, traits.TRUSTED}),
    )
    return replace(known, **about)  # type: ignore[arg-type]


def rules(*entries: str | None, pf: str | None = None) -> Rules:
    """The entry that decides over each VF, in their order, and the one over the PF."""
    specs = [None if each is None else parse(each, "line 1")[0] for each in (*entries, pf)]
    addresses = [*(vf(number).address for number in range(len(entries))), PF]
    return Rules(entries=dict(zip(addresses, specs, strict=True)))


def pools(
    known: PfInventory, allowed: Rules | None = None, *, forwarder: bool = False, **holders: str
) -> tuple[Pool, ...]:
    taken = {PF if key == "pf" else vf(int(key[2:])).address: who for key, who in holders.items()}
    users = DeviceUsers(named=taken, vdpa=known.vdpa)
    return build_pools("host", [known], users, allowed, forwarder=forwarder)


def test_vfs_that_are_alike_are_one_pool() -> None:
    """Where nothing tells them apart, and all are free, in the order of their addresses."""
    (pool,) = pools(card(vf(1), vf(0), vf(2)), forwarder=True)
    assert [address.function for address in pool.functions] == [0, 1, 2]
    assert (pool.free, pool.total, pool.device) == (3, 3, DeviceType.VF)
    assert {DIRECT, FORWARDER, traits.TUNNELLED, traits.TRUSTED} <= pool.traits
    assert (pool.pf, pool.netdev, pool.numa_node, pool.rate) == (PF, "p0", 0, None)


def test_without_vfs() -> None:
    """A PF without VFs is there, so that it can be named, and gives nothing."""
    (pool,) = pools(card())
    assert (pool.pf, pool.total, pool.free, pool.functions) == (PF, 0, 0, ())


@pytest.mark.parametrize(
    ("known", "lacks"),
    [
        (card(vf(0), no_passthrough={vf(0).address: "no group"}), DIRECT),
        (card(vf(0)), FORWARDER),
        (card(replace(vf(0), driver=None, netdev=None)), traits.vnic_type(VnicType.MACVTAP)),
        (card(vf(0)), traits.vnic_type(VnicType.VDPA)),
    ],
    ids=["IOMMU group", "forwarder", "netdev", "vDPA"],
)
def test_what_a_vf_cannot_be(known: PfInventory, lacks: str) -> None:
    """A VNIC type needs something of the host or of the VF, and is no capability without."""
    (pool,) = pools(known)
    assert lacks not in pool.traits


def test_a_simulated_vf() -> None:
    """It says so, and can be a direct port's without an IOMMU."""
    (pool,) = pools(card(replace(vf(0), simulated=True), no_passthrough={vf(0).address: ""}))
    assert {DIRECT, traits.SIMULATED} <= pool.traits


def test_vdpa_is_another_device() -> None:
    """A VF that is a vDPA device is a pool by itself, and not one of VFs."""
    first, second = pools(card(vf(0), vf(1), vdpa=frozenset({vf(1).address})))
    assert (first.device, second.device) == (DeviceType.VF, DeviceType.VDPA)
    assert second.functions == (vf(1).address,)


def test_tags_tell_vfs_apart() -> None:
    """Those on another network are another pool; one that no entry allows is held with the way."""
    allowed = rules(
        '{"address": "*", "physical_network": null}',
        '{"address": "*", "physical_network": "physnet1", "trusted": "true"}',
        '{"address": "*"}',
        None,
    )
    tunnels, physical, untagged = pools(card(*map(vf, range(4))), allowed)
    assert tunnels.traits >= {traits.TUNNELLED}
    assert traits.TRUSTED not in tunnels.traits
    assert physical.physical_network == "physnet1"
    assert traits.TRUSTED in physical.traits
    assert mismatch(tunnels, ASKED) is None
    assert "it is on physical network physnet1" in (mismatch(physical, ASKED) or "")
    assert "must say null" in (mismatch(untagged, ASKED) or "")
    assert "device-spec --check" in untagged.unavailable[vf(3).address]


def test_what_the_operator_says() -> None:
    """Traits of an entry are the VF's, as Nova takes them; so are the other tags."""
    allowed = rules(
        '{"address": "*", "traits": "hw_nic_offload_rdma, gold", "live_migratable": "true",'
        ' "remote_managed": "true"}'
    )
    (pool,) = pools(card(vf(0)), allowed)
    assert {"HW_NIC_OFFLOAD_RDMA", "CUSTOM_GOLD", traits.LIVE_MIGRATABLE} <= pool.traits
    assert {traits.REMOTE_MANAGED, "CUSTOM_VNIC_TYPE_REMOTE_MANAGED"} <= pool.traits


def test_trust_that_nobody_can_tell() -> None:
    """It is unknown where an entry trusts the VF, and no matter where none does."""
    known = card(vf(0), vf(1), traits=frozenset(), unknown=frozenset({traits.TRUSTED}))
    allowed = rules('{"address": "*", "trusted": "true"}', '{"address": "*"}')
    first, second = pools(known, allowed)
    assert first.unknown == {traits.TRUSTED}
    assert not second.unknown


def test_held() -> None:
    """A VF in use is held by whom; one that is only bound to vfio-pci is free."""
    bound = replace(vf(1), driver="vfio-pci", netdev=None)
    (pool,) = pools(card(vf(0), bound, vf(2)), vf0="bridge br0")
    assert pool.unavailable == {vf(0).address: "in use by bridge br0"}
    assert pool.functions == (vf(1).address, vf(2).address)


def test_a_vf_in_use_stays_in_its_pool() -> None:
    """Its user takes its netdev away, by another driver or into another namespace."""
    bound = replace(vf(0), driver="vfio-pci", netdev=None)
    elsewhere = replace(vf(1), netdev=None)
    (pool,) = pools(card(bound, elsewhere, vf(2)), vf0="port o", vf1="port p")
    assert (pool.total, pool.functions) == (3, (vf(2).address,))


def test_a_pf_goes_only_as_a_whole() -> None:
    """It is offered only where an entry says so, and not while a VF of it is used; and back."""
    entry = '{"address": "0000:03:00.0", "physical_network": "physnet0"}'
    assert all(pool.device is DeviceType.VF for pool in pools(card(vf(0))))
    vfs, whole = pools(card(vf(0)), rules(entry, pf=entry))
    assert (whole.device, whole.functions, whole.physical_network) == (
        DeviceType.PF,
        (PF,),
        "physnet0",
    )
    _, whole = pools(card(vf(0)), rules(entry, pf=entry), vf0="port a")
    assert whole.unavailable[PF] == f"its VF {vf(0).address} is in use by port a"
    vfs, whole = pools(card(vf(0)), rules(entry, pf=entry), pf="virtual machine b")
    assert whole.unavailable[PF] == "in use by virtual machine b"
    assert vfs.unavailable[vf(0).address] == "its PF is in use by virtual machine b"


def test_speed_and_drawback_are_the_pfs() -> None:
    """Each pool of the PF has them."""
    (pool,) = pools(card(vf(0), rate=10_000_000, drawback="a sibling is passed through"))
    assert (pool.rate, pool.drawback) == (10_000_000, "a sibling is passed through")
