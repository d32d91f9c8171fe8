"""Pools and requests, as the tests of choosing need them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from smartvif.choose.selection.pool import Guest, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model import traits
from smartvif.model.choices import NumaPolicy
from smartvif.model.pci import PciAddress

NEAR, SAME_SOCKET, FAR, NOWHERE = 0, 1, 2, None
GUEST = Guest(nodes=frozenset({NEAR}), sockets={NEAR: 0, SAME_SOCKET: 0, FAR: 1})
RATE = 3000  # kbit/s
FIT = frozenset({traits.SWITCHDEV, traits.TUNNELLED})


def pf(number: int) -> PciAddress:
    """The address of a PF."""
    return PciAddress(0, 0x03 + number, 0, 0)


def vf(number: int, index: int) -> PciAddress:
    """The address of a VF of it."""
    return PciAddress(0, 0x83 + number, index // 8, index % 8)


def pool(number: int, free: int = 2, used: int = 0, *, first: int = 0, **changed: Any) -> Pool:
    """VFs of a PF from the ``first`` on: those in use, then those that are free."""
    held = [vf(number, first + index) for index in range(used)]
    values: dict[str, Any] = {
        "host": "left",
        "pf": pf(number),
        "device": DeviceType.VF,
        "total": used + free,
        "free": free,
        "functions": tuple(vf(number, first + used + index) for index in range(free)),
        "unavailable": {address: "in use by port z" for address in held},
        "netdev": f"p{number}",
        "traits": FIT,
    }
    return Pool(**values | changed)


def whole(number: int, holder: str | None = None, **changed: Any) -> Pool:
    """A PF that can be had as a whole, unless somebody has it."""
    values: dict[str, Any] = {"device": DeviceType.PF, "total": 1}
    if holder is None:
        values["functions"] = (pf(number),)
    else:
        values["unavailable"] = {pf(number): f"in use by {holder}"}
    return pool(number, 0 if holder else 1, **values | changed)


def need(name: str = "a", **changed: Any) -> DeviceRequest:
    """A port that needs a VF in switchdev mode, for a tunnelled network."""
    values: dict[str, Any] = {
        "device": DeviceType.VF,
        "required": frozenset({traits.SWITCHDEV}),
    }
    return DeviceRequest(id=name, **values | changed)


@st.composite
def hosts(draw: st.DrawFn) -> list[Pool]:
    """One to three PFs, some of their VFs in use, alike and unlike; few, so that room is short."""
    found: list[Pool] = []
    for number in range(draw(st.integers(1, 3))):
        common: dict[str, Any] = {
            "rate": draw(st.sampled_from([RATE, RATE, 2000, 1000, None])),
            "numa_node": draw(st.sampled_from([NEAR, NEAR, SAME_SOCKET, FAR, NOWHERE])),
            "drawback": draw(st.sampled_from([None, None, "no link"])),
        }
        kinds = [(DeviceType.VF, FIT), (DeviceType.VF, FIT | {traits.TRUSTED})]
        kinds += [(DeviceType.VDPA, FIT)]
        for place, (device, names) in enumerate(kinds):
            free, used = draw(st.sampled_from([(0, 0), (2, 0), (2, 0), (1, 0), (1, 1), (0, 1)]))
            if free or used:
                alike: dict[str, Any] = {"first": place * 8, "device": device, "traits": names}
                found.append(pool(number, free, used, **common | alike))
        if draw(st.booleans()):
            in_use = any(each.unavailable for each in found if each.pf == pf(number))
            found.append(whole(number, "port z" if in_use else None, **common))
    return found


@st.composite
def machines(draw: st.DrawFn) -> list[DeviceRequest]:
    """One to four ports, some of which name what they want."""

    def mostly(usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from([usual] * 6 + list(others)))

    return [
        need(
            name,
            device=mostly(DeviceType.VF, DeviceType.PF, DeviceType.VDPA),
            required=mostly(FIT, frozenset({traits.TRUSTED})),
            numa=mostly(NumaPolicy.PREFERRED, *NumaPolicy),
            min_rate=mostly(0, 500, 1000, 1500),
            pf=mostly(None, "p0", "0000:04:00.0"),
            vf=mostly(None, vf(0, 0), vf(0, 1), vf(1, 8)),
        )
        for name in "abcd"[: draw(st.integers(1, 4))]
    ]
