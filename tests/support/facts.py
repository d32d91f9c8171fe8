"""Facts of a port, for tests that need some."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from smartvif.model.choices import Mode
from smartvif.model.pci import PciAddress
from smartvif.model.port_facts import PortFacts, VfIdentity

_FACTS = PortFacts(
    vm="vm1",
    mode=Mode.NORMAL,
    switch="ovs",
    vif_type="ovs",
    bridge="br-int",
    mac="52:54:00:12:34:56",
)


def vf_identity(text: str) -> VfIdentity:
    """The VF at that address, of the PF that is the first function of its bus."""
    address = PciAddress.parse(text)
    pf = replace(address, slot=0, function=0)
    return VfIdentity(pf=pf, number=8 * address.slot + address.function, address=address)


def port_facts(vf: str | None = None, **changes: Any) -> PortFacts:
    """Those of a port of mode normal, of mode direct where it has a VF, with ``changes``."""
    if vf is not None:
        changes = {"mode": Mode.DIRECT, "vf": vf_identity(vf), **changes}
    return replace(_FACTS, **changes)
