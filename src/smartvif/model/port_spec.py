"""The request to attach a machine to a switch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smartvif.model import checks
from smartvif.model.choices import DEFAULT_SWITCH, Mode
from smartvif.model.errors import Invalid
from smartvif.model.needs import NOTHING_SPECIAL, Needs
from smartvif.model.pci import PciAddress

_CHECKS: dict[str, Callable[[Any], object]] = {
    "bridge": checks.ifname,
    "network": checks.uuid,
    "id": checks.uuid,
    "vlan": checks.vlan,
    "mtu": checks.mtu,
    "mac": checks.mac,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """One attachment. ``mtu`` in bytes; ``pf`` an address or a netdev. None: choose.

    ``id`` is the port's, where it has one already, on another host; empty: a new one.

    A switch attaches to a ``bridge`` or to a virtual ``network``, a UUID: which of the two, and
    whether there is a switch of that name, is not checked here but by ``switches.registry``.
    Raises: Invalid, for a value that can never be right.
    """

    vm: str
    mode: Mode
    switch: str = DEFAULT_SWITCH
    bridge: str | None = None
    network: str | None = None
    vlan: int | None = None
    mtu: int | None = None
    mac: str | None = None
    pf: str | None = None
    vf: PciAddress | None = None
    needs: Needs = NOTHING_SPECIAL
    id: str = ""

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None and (name, value) != ("id", ""):
                with checks.about(f"--{name}"):
                    check(value)

    @property
    def transparent(self) -> bool:
        """Whether it can migrate unnoticed by the guest; a passed-through VF cannot."""
        return self.mode is not Mode.DIRECT

    def as_json(self) -> dict[str, object]:
        """The document for another host, which chooses its own VF; the machine is not in it."""
        return {
            "id": self.id,
            "mac": self.mac,
            "mode": str(self.mode),
            "switch": self.switch,
            "bridge": self.bridge,
            "network": self.network,
            "vlan": self.vlan,
            "mtu": self.mtu,
            "needs": self.needs.as_json(),
        }

    @classmethod
    def from_json(cls, vm: str, document: Mapping[str, object]) -> PortSpec:
        """What ``as_json`` gave, for the machine ``vm``; ``needs`` may be missing or None.

        Raises: Invalid.
        """
        try:
            needs, mode = document.get("needs"), Mode(str(document["mode"]))
            found = {**document, "mode": mode, "switch": str(document["switch"])}
            found["needs"] = NOTHING_SPECIAL if needs is None else Needs.from_json(needs)  # type: ignore[arg-type]
            return cls(vm=vm, **found)  # type: ignore[arg-type]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Invalid(f"it is not the description of a port: {error}") from error
