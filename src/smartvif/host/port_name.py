"""The grammar of ``phys_port_name``, by which a switch port names itself.

The forms are the kernel's own (net/devlink/port.c, __devlink_port_phys_port_name_get) and those of
drivers without it (nfp_port.c, ice_repr.c, and mlx5 and bnxt before Linux 5.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# As "%u" prints it: no sign, no leading zero.
_N = r"(?:0|[1-9][0-9]{0,9})"
# Only functions of another host are marked, numbered from 1 (mlx5, esw/devlink_port.c).
_CONTROLLER = r"(?:c(?P<controller>[1-9][0-9]{0,9}))?"

# The port that faces the wire: p0, split p0s1, on a line card l0p1.
_UPLINK = re.compile(rf"(?:l{_N})?p(?P<number>{_N})(?:s{_N})?")
# The port that faces a PF: pf0, of another host c1pf0, split by nfp pf0s1.
_PF = re.compile(rf"{_CONTROLLER}pf(?P<pf>{_N})(?:s{_N})?")
# The port that faces a VF: pf0vf3, of another host c1pf0vf3.
_VF = re.compile(rf"{_CONTROLLER}pf(?P<pf>{_N})vf(?P<number>{_N})")
# The port that faces an SF: pf0sf88, of another host c1pf0sf88.
_SF = re.compile(rf"{_CONTROLLER}pf(?P<pf>{_N})sf(?P<number>{_N})")
# The port that faces a VF, as some vendors' kernels put it: VF3@PF0, in any case.
_VF_AT_PF = re.compile(rf"vf(?P<number>{_N})@pf(?P<pf>{_N})", re.IGNORECASE)
# The port that faces a VF, as ice puts it where the port has no devlink port yet (ice_repr.c,
# ice_repr_get_phys_port_name): the first number is the wire's, so it says nothing of the PF.
_VF_OF_WIRE = re.compile(rf"pf{_N}vfr(?P<number>{_N})")
# The port that faces a VF, on old kernels: its number and nothing of its PF.
_VF_BARE = re.compile(rf"(?P<number>{_N})")


class PortKind(StrEnum):
    """What a switch port faces."""

    UPLINK = "uplink"
    PF = "pf"
    VF = "vf"
    SF = "sf"
    OTHER = "other"


_FORMS = (
    (PortKind.UPLINK, _UPLINK),
    (PortKind.PF, _PF),
    (PortKind.VF, _VF),
    (PortKind.SF, _SF),
    (PortKind.VF, _VF_AT_PF),
    (PortKind.VF, _VF_OF_WIRE),
    (PortKind.VF, _VF_BARE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortName:
    """One switch port.

    ``controller`` is 0 for functions of this host, else the number of the host that has them.
    ``pf`` is the PF's number, unknown in the bare form and in ice's. ``number`` counts wires
    (uplink), VFs or SFs, and is None for the others.
    """

    kind: PortKind
    controller: int = 0
    pf: int | None = None
    number: int | None = None

    @classmethod
    def parse(cls, text: str) -> PortName:
        """Read any ``phys_port_name``; what is in no known form is ``other``, never an error."""
        for kind, form in _FORMS:
            match = form.fullmatch(text)
            if match is not None:
                return cls(
                    kind=kind, **{name: int(part) for name, part in match.groupdict("0").items()}
                )
        return cls(kind=PortKind.OTHER)

    def __str__(self) -> str:
        """As the kernel of today would write it; ``other`` for what it would not."""
        match self.kind:
            case PortKind.UPLINK:
                return f"p{self.number}"
            case PortKind.OTHER:
                return "other"
        host = f"c{self.controller}" if self.controller else ""
        pf = "" if self.pf is None else f"pf{self.pf}"
        if self.kind is PortKind.PF:
            return f"{host}{pf}"
        return f"{host}{pf}{self.kind}{self.number}" if pf else f"{self.number}"
