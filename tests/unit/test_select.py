"""Which VF a port gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.choose.select import select
from smartvif.host.facts import EswitchMode, Pf, Vf
from smartvif.model.errors import NotFound, Refused
from smartvif.model.pci import PciAddress

VFIO = "vfio-pci"


def vf(pf: int, number: int, driver: str | None = "mlx5_core") -> Vf:
    return Vf(
        address=PciAddress(0, 0xA0 + pf, 0, number),
        pf=pf_address(pf),
        number=number,
        vendor="15b3",
        device="101e",
        driver=driver,
        iommu_group=None,
        numa_node=None,
        netdev=None if driver == VFIO else f"p{pf}v{number}",
        simulated=False,
    )


def pf_address(number: int) -> PciAddress:
    return PciAddress(0, 0xAF, 0, number)


def pf(number: int, *vfs: Vf, eswitch: EswitchMode = EswitchMode.SWITCHDEV) -> Pf:
    return Pf(
        address=pf_address(number),
        vendor="15b3",
        device="101d",
        driver="mlx5_core",
        numa_node=None,
        netdev=None if eswitch is EswitchMode.UNKNOWN else f"p{number}",
        total_vfs=8,
        num_vfs=len(vfs),
        switch_id="01" if eswitch is EswitchMode.SWITCHDEV else None,
        eswitch=eswitch,
        simulated=False,
        vfs=vfs,
    )


CARD = (
    pf(0, vf(0, 0), vf(0, 1, driver=VFIO), vf(0, 2)),
    pf(1, vf(1, 0), vf(1, 1, driver=None)),
    pf(2, vf(2, 0), eswitch=EswitchMode.LEGACY),
    pf(3, vf(3, 0), eswitch=EswitchMode.UNKNOWN),
    pf(4),
)
FIRST, BOUND, THIRD = (vf.address for vf in CARD[0].vfs)
SECOND_PF = CARD[1].vfs[0].address
LEGACY, UNKNOWN = CARD[2].vfs[0].address, CARD[3].vfs[0].address


@pytest.mark.parametrize(
    ("asked", "taken", "chosen"),
    [
        ({}, {}, FIRST),
        ({}, {FIRST: "port a"}, THIRD),
        ({}, {FIRST: "port a", THIRD: "port b"}, SECOND_PF),
        ({"pf": "p1"}, {}, SECOND_PF),
        ({"pf": "0000:af:00.1"}, {}, SECOND_PF),
        ({"pf": "0000:AF:00.1"}, {}, SECOND_PF),
        ({"pf": "p1"}, {SECOND_PF: "port a"}, CARD[1].vfs[1].address),
        ({"vf": THIRD}, {}, THIRD),
        ({"vf": THIRD}, {FIRST: "port a"}, THIRD),
        ({"vf": SECOND_PF, "pf": "p1"}, {}, SECOND_PF),
    ],
)
def test_the_vf_that_is_chosen(
    asked: dict[str, str], taken: dict[PciAddress, str], chosen: PciAddress
) -> None:
    """The VF asked for, or the first free one of the PF asked for, or of all."""
    assert select(CARD, taken, **asked).address == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "taken", "reason"),
    [
        (FIRST, {FIRST: "port 0d9a1b2c"}, "in use by port 0d9a1b2c"),
        (BOUND, {}, "bound to vfio-pci"),
        (LEGACY, {}, "the eswitch of 0000:af:00.2 is in mode legacy"),
        (UNKNOWN, {}, "the eswitch of 0000:af:00.3 is in mode unknown"),
    ],
)
def test_a_vf_that_cannot_be_had(
    address: PciAddress, taken: dict[PciAddress, str], reason: str
) -> None:
    """A VF asked for that is not free is refused with the reason; no other is given instead."""
    with pytest.raises(Refused, match=reason) as caught:
        select(CARD, taken, vf=address)
    assert str(address) in caught.value.what
    assert caught.value.hint


def test_a_vf_that_is_not_there() -> None:
    """A VF that no card has is not found, nor is one of another PF than the one asked for."""
    with pytest.raises(NotFound, match=r"no VF 0000:01:00\.0"):
        select(CARD, {}, vf=PciAddress.parse("0000:01:00.0"))
    with pytest.raises(NotFound, match=f"PF 'p1' has no VF {FIRST}"):
        select(CARD, {}, pf="p1", vf=FIRST)


@pytest.mark.parametrize("name", ["p9", "0000:af:00.9", "P0", "", "None"])
def test_a_pf_that_is_not_there(name: str) -> None:
    """The error names the PF asked for and, as the hint, those there are."""
    with pytest.raises(NotFound, match=f"no PF '{name}'") as caught:
        select(CARD, {}, pf=name)
    assert "0000:af:00.0 (p0)" in caught.value.hint
    assert "0000:af:00.3 (no netdev)" in caught.value.hint


def test_no_card_and_no_vfs() -> None:
    """A host without a PF and a PF without VFs are told apart, and the way to VFs is the hint."""
    with pytest.raises(NotFound, match="no PF with VFs") as caught:
        select((), {})
    assert caught.value.hint == "PFs: none"
    with pytest.raises(NotFound, match="no VF is free among 0") as caught:
        select(CARD, {}, pf="p4")
    assert "sriov_numvfs" in caught.value.hint


def test_none_free_says_why() -> None:
    """Where every VF has something against it, each reason is named with its VF."""
    taken = {FIRST: "port a", THIRD: "bridge br-int, where its representor is"}
    with pytest.raises(NotFound, match="no VF is free among 5") as caught:
        select((CARD[0], CARD[2], CARD[3]), taken)
    for words in (
        f"{FIRST}: in use by port a",
        f"{BOUND}: bound to vfio-pci",
        f"{THIRD}: in use by bridge br-int, where its representor is",
        f"{LEGACY}: the eswitch of 0000:af:00.2 is in mode legacy, not switchdev",
    ):
        assert words in caught.value.hint


@st.composite
def cards(draw: st.DrawFn) -> tuple[Pf, ...]:
    drivers = st.sampled_from(["mlx5_core", VFIO, None])
    return tuple(
        pf(
            number,
            *(vf(number, each, draw(drivers)) for each in range(draw(st.integers(0, 8)))),
            eswitch=draw(st.sampled_from(EswitchMode)),
        )
        for number in range(draw(st.integers(0, 4)))
    )


@given(cards(), st.data())
def test_a_free_one_is_given_wherever_there_is_one(
    card: tuple[Pf, ...], data: st.DataObject
) -> None:
    """The choice is fit and not taken, and it fails only where no VF is both."""
    every = [each for owner in card for each in owner.vfs]
    taken = {
        each.address: "somebody" for each in every if data.draw(st.booleans(), str(each.address))
    }
    fit = [
        each
        for owner in card
        for each in owner.vfs
        if each.address not in taken
        and each.driver != VFIO
        and owner.eswitch is EswitchMode.SWITCHDEV
    ]
    if not fit:
        with pytest.raises(NotFound):
            select(card, taken)
        return
    chosen = select(card, taken)
    assert chosen == fit[0]
    assert select(card, taken, vf=chosen.address) == chosen
    # What comes after it, and in which order the rest was taken, changes nothing.
    more = {each.address: "late" for each in reversed(every) if each not in fit[:1]}
    assert select(card, more) == chosen
    assert select([replace(owner, numa_node=1) for owner in card], taken) == chosen
