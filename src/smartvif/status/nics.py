"""Every VF with its representor and its user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smartvif.host.representors import Representors
from smartvif.host.sriov import Pf, Vf
from smartvif.model.errors import Ambiguous, NotFound
from smartvif.model.pci import PciAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class VfView:
    """One VF. ``owner`` is the port that has it; ``problem`` is why it has no representor."""

    vf: Vf
    representor: str | None
    problem: str | None
    owner: str | None

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "address": str(self.vf.address),
            "number": self.vf.number,
            "netdev": self.vf.netdev,
            "driver": self.vf.driver,
            "iommu_group": self.vf.iommu_group,
            "representor": self.representor,
            "problem": self.problem,
            "port": self.owner,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PfView:
    """One PF with its VFs."""

    pf: Pf
    vfs: tuple[VfView, ...]

    def as_json(self) -> dict[str, Any]:
        """Stable keys; documented in docs/reference/cli.md."""
        pf = self.pf
        return {
            "address": str(pf.address),
            "netdev": pf.netdev,
            "driver": pf.driver,
            "simulated": pf.simulated,
            "eswitch": str(pf.eswitch),
            "switch_id": pf.switch_id,
            "numa_node": pf.numa_node,
            "num_vfs": pf.num_vfs,
            "total_vfs": pf.total_vfs,
            "vfs": [view.as_json() for view in self.vfs],
        }


def views(
    pfs: Iterable[Pf], representors: Representors, owners: Mapping[PciAddress, str]
) -> tuple[PfView, ...]:
    """Every PF; ``owners`` gives the port that has the VF at an address."""
    return tuple(
        PfView(pf=pf, vfs=tuple(_vf(vf, representors, owners) for vf in pf.vfs)) for pf in pfs
    )


def _vf(vf: Vf, representors: Representors, owners: Mapping[PciAddress, str]) -> VfView:
    representor, problem = None, None
    try:
        representor = representors.find(vf).netdev
    except (NotFound, Ambiguous) as error:
        problem = error.what
    return VfView(vf=vf, representor=representor, problem=problem, owner=owners.get(vf.address))
