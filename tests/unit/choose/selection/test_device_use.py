"""Whether a VF can be given to a port: every reason, and that all views have the same one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartvif.choose.selection.device_use import DeviceUsers, in_words, obstacles, pf_obstacle
from smartvif.host.sriov import EswitchMode, Pf, Vf
from smartvif.model.known import Absent, Known, Present, Unknown
from smartvif.model.pci import PciAddress

PF = PciAddress.parse("0000:5e:00.0")
VF = Vf(
    address=PciAddress.parse("0000:5e:00.2"),
    pf=PF,
    number=0,
    vendor="15b3",
    device="101e",
    driver="mlx5_core",
    iommu_group=51,
    numa_node=0,
    netdev="v0",
    simulated=False,
)
CARD = Pf(
    address=PF,
    vendor="15b3",
    device="101d",
    driver="mlx5_core",
    numa_node=0,
    netdev="p0",
    total_vfs=8,
    num_vfs=1,
    switch_id="01",
    eswitch=EswitchMode.SWITCHDEV,
    simulated=False,
    vfs=(VF,),
)
BOUND = replace(VF, driver="vfio-pci", netdev=None)
GONE = replace(VF, netdev=None)
NOBODY = DeviceUsers()
NAMESPACE = "its driver mlx5_core has it and its netdev is in another network namespace"


def obstacle(vf: Vf, users: DeviceUsers = NOBODY, **pf: object) -> Known[str]:
    """What stands against giving the VF to a port."""
    card = replace(CARD, vfs=(vf,), **pf)  # type: ignore[arg-type]
    return obstacles([card], users, None)[vf.address]


@pytest.mark.parametrize(
    "vf",
    [VF, BOUND, replace(BOUND, driver="mlx5_vfio_pci"), replace(GONE, driver=None)],
    ids=["netdev", "vfio-pci", "variant", "no driver"],
)
def test_free(vf: Vf) -> None:
    """A VF with its netdev here, on vfio-pci that no process has open, or without a driver."""
    assert obstacle(vf) == Absent()


@pytest.mark.parametrize("user", ["port p", "virtual machine scanner", "bridge br-ext"])
def test_named_users_come_first(user: str) -> None:
    """A port, a machine or a bridge is named, whatever else is to be seen of the VF."""
    users = DeviceUsers(named={VF.address: user}, vfio={VF.address: Present("QEMU 4711")})
    for vf in (VF, BOUND, GONE):
        assert obstacle(vf, users) == Present(f"in use by {user}")


def test_open_by_a_process() -> None:
    """What is known of a process is known of the VF; unknown is not free, and is told apart."""
    opened = DeviceUsers(vfio={VF.address: Present("QEMU 4711, which has /dev/vfio/51 open")})
    assert obstacle(BOUND, opened) == Present("in use by QEMU 4711, which has /dev/vfio/51 open")
    unknown = Unknown("not every process shows here what it has open")
    assert obstacle(BOUND, DeviceUsers(vfio={VF.address: unknown})) == unknown
    assert in_words(unknown) == (
        "unknown whether it is in use: not every process shows here what it has open"
    )
    assert in_words(Absent()) is None


def test_a_netdev_in_another_namespace() -> None:
    """A VF with a network driver and no netdev here is used elsewhere; not so a vDPA device."""
    assert obstacle(GONE) == Present(NAMESPACE)
    assert obstacle(GONE, DeviceUsers(vdpa=frozenset({VF.address}))) == Absent()


@pytest.mark.parametrize("driver", ["uio_pci_generic", "igb_uio", "pci-stub"])
def test_lent_by_other_drivers(driver: str) -> None:
    """Other drivers without a netdev give it to a program."""
    why = f"bound to {driver}, by which a program has it"
    assert obstacle(replace(GONE, driver=driver)) == Present(why)


@pytest.mark.parametrize(
    ("pf", "why"),
    [
        ({"driver": "vfio-pci", "netdev": None}, f"PF {PF} is bound to vfio-pci, so"),
        ({"driver": None, "netdev": None}, f"PF {PF} has no driver, so"),
        ({"netdev": None}, f"PF {PF} has no netdev here: {NAMESPACE}"),
    ],
)
def test_a_pf_without_its_network_driver(pf: dict[str, object], why: str) -> None:
    """Its VFs cannot be had, for nothing here can set its switch."""
    found = obstacle(VF, NOBODY, **pf)
    assert isinstance(found, Present)
    assert found.value.startswith(why)


def test_a_pf_that_is_in_use() -> None:
    """With a machine it takes its VFs along; as an uplink it leaves them, and is not given away."""
    whole = DeviceUsers(named={PF: "virtual machine a"})
    assert obstacle(VF, whole) == Present("its PF is in use by virtual machine a")
    assert pf_obstacle(CARD, whole) == Present("in use by virtual machine a")
    uplink = DeviceUsers(uplinks={PF: "bridge br-phy, where it is the uplink"})
    assert obstacle(VF, uplink) == Absent()
    assert pf_obstacle(CARD, uplink) == Present("in use by bridge br-phy, where it is the uplink")


def test_a_pf_whose_vfs_are_in_use() -> None:
    """It cannot be given away as a whole, by whatever means a VF of it is used."""
    assert pf_obstacle(CARD, DeviceUsers()) == Absent()
    opened = DeviceUsers(vfio={VF.address: Present("QEMU 4711")})
    assert pf_obstacle(CARD, opened) == Present(f"its VF {VF.address} is in use by QEMU 4711")
    gone = replace(CARD, vfs=(GONE,))
    assert pf_obstacle(gone, DeviceUsers()) == Present(f"of its VF {VF.address}: {NAMESPACE}")
    away = replace(CARD, netdev=None)
    assert pf_obstacle(away, DeviceUsers()) == Present(NAMESPACE)
