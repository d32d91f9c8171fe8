"""Steps on a VF by its PF: for a guest whose VF the NIC itself switches (hw_veb).

libvirt sets such a VF's MAC address and VLAN by the guest's XML and puts them back
(libvirt.org/formatdomain.html, "PCI Passthrough"). Trust is all that it has no word for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from smartvif.model.errors import NotFound
from smartvif.plug.step import Found, World


@dataclass(frozen=True, slots=True, kw_only=True)
class VfTrust:
    """The guest that has the VF ``number`` of the PF ``pf`` may change its address and modes."""

    pf: str
    number: int

    def describe(self) -> str:
        """Name the VF."""
        return f"trust VF {self.number} of {self.pf}"

    def find(self, world: World) -> Found:
        """Whether it is trusted now; None where the driver does not say."""
        return {"trusted": world.links.vf_trust(self.pf, self.number)}

    def do(self, world: World) -> None:
        """Trust it."""
        world.links.set_vf_trust(self.pf, self.number, True)

    def undo(self, world: World, found: Found) -> None:
        """Put it back, if the VF is still there.

        Where the driver did not say, it is not trusted: the next guest must not inherit it.
        """
        if found["trusted"]:
            return
        with suppress(NotFound):
            if world.links.vf_trust(self.pf, self.number) is not False:
                world.links.set_vf_trust(self.pf, self.number, False)

    def check(self, world: World) -> bool:
        """Whether it is trusted, as far as the driver says."""
        with suppress(NotFound):
            return world.links.vf_trust(self.pf, self.number) is not False
        return False
