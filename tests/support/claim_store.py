"""A host with a card, and choices from its pools, for the stores of claims."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.model.pci import PciAddress

HOST = "compute-1"
PF, VF, VDPA = DeviceType.PF, DeviceType.VF, DeviceType.VDPA
P0, P1 = (PciAddress(0, 3, 0, number) for number in range(2))
VFS = tuple(PciAddress(0, 4, 0, number) for number in range(4))
VDPAS = (PciAddress(0, 4, 1, 0),)
HELD = "in use by bridge br-int"


def pool(
    *functions: PciAddress,
    device: DeviceType = VF,
    pf: PciAddress = P0,
    unavailable: Mapping[PciAddress, str] | None = None,
    rate: int | None = None,
    host: str = HOST,
) -> Pool:
    """A pool of these functions, as it is published."""
    return Pool(
        host=host,
        pf=pf,
        device=device,
        total=len(functions) + len(unavailable or {}),
        free=len(functions),
        functions=functions,
        unavailable=unavailable or {},
        rate=rate,
    )


WHOLE, VIRTUAL, VDPA_POOL = pool(P0, device=PF), pool(*VFS), pool(*VDPAS, device=VDPA)
CARD = (WHOLE, VIRTUAL, VDPA_POOL)


def choice(
    owner: str, of: Pool = VIRTUAL, *, vf: PciAddress | None = None, rate: int = 0
) -> Choice:
    """The port is to have a function of the pool."""
    request = DeviceRequest(id=owner, device=of.device, vf=vf, min_rate=rate)
    return Choice(request=request, pool=of)


def anything(of: Pool) -> Pool:
    """The pool without the addresses of its functions, as it is where all hosts are asked."""
    return replace(of, functions=(), unavailable={})


def owned(claims: SqliteClaims) -> dict[PciAddress | None, str]:
    """Whose each function is."""
    return {claim.address: claim.owner for claim in claims.claims()}


def traced(db: sqlite3.Connection, watch: Callable[[str], None]) -> sqlite3.Connection:
    """The connection, which tells of each statement before it is executed."""
    db.set_trace_callback(watch)
    return db
