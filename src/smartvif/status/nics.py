"""Every VF with its representor, and whether a port can have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from smartvif.choose.selection.device_use import in_words
from smartvif.host.representors import Representors
from smartvif.host.sriov import Pf, Vf
from smartvif.model.document import JsonObject
from smartvif.model.errors import Ambiguous, NotFound
from smartvif.model.known import NOT_READ, Absent, Known, Unknown
from smartvif.model.pci import PciAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class VfView:
    """One VF. ``owner`` is the port that has it; ``problem`` is why it has no representor.

    ``obstacle`` is what stands against giving it to a port.
    """

    vf: Vf
    representor: str | None
    problem: str | None
    owner: str | None
    obstacle: Known[str]

    @property
    def free(self) -> bool | None:
        """Whether a port can have it; None where that is unknown."""
        return None if isinstance(self.obstacle, Unknown) else self.obstacle == Absent()

    def as_json(self) -> JsonObject:
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
            "free": self.free,
            "held": in_words(self.obstacle),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PfView:
    """One PF with its VFs."""

    pf: Pf
    vfs: tuple[VfView, ...]

    def as_json(self) -> JsonObject:
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
    pfs: Iterable[Pf],
    representors: Representors,
    owners: Mapping[PciAddress, str],
    obstacles: Mapping[PciAddress, Known[str]],
) -> tuple[PfView, ...]:
    """Every PF; ``owners`` gives the port that has the VF at an address.

    ``obstacles`` is what stands against giving each VF to a port.
    """

    def view(vf: Vf) -> VfView:
        representor, problem = None, None
        try:
            representor = representors.find(vf).netdev
        except (NotFound, Ambiguous) as error:
            problem = error.what
        return VfView(
            vf=vf,
            representor=representor,
            problem=problem,
            owner=owners.get(vf.address),
            obstacle=obstacles.get(vf.address, NOT_READ),
        )

    return tuple(PfView(pf=pf, vfs=tuple(map(view, pf.vfs))) for pf in pfs)
