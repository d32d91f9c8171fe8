"""The recorded facts of an attached port, equal for ports of os-vif and of the command.

One type with one serialisation, for the journal (``dump``, ``load``) and for people (``as_json``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from smartvif.model.choices import Mode
from smartvif.model.errors import Damaged, SmartvifError
from smartvif.model.needs import NOTHING_SPECIAL, Needs
from smartvif.model.pci import PciAddress

if TYPE_CHECKING:
    from smartvif.model.port_spec import PortSpec

T = TypeVar("T")

_VERSION = 1
"""The version that ``dump`` writes. 0 is that of smartvif 0.1.0, which wrote no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VfIdentity:
    """The identity of a VF: its PF and its number. Names of netdevs change and are not part of it.

    ``address`` is the VF's own, which follows from the other two (PCI SIG SR-IOV 2.1.2). ``number``
    is None in journals of smartvif 0.1.0, which did not keep it.
    """

    pf: PciAddress
    number: int | None
    address: PciAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """One attached port. ``mtu`` in bytes.

    ``network`` is the vRouter's virtual network, ``bridge`` the bridge of another switch;
    ``switch_port`` the netdev that the switch has: a tap or, when it was plugged, the representor.
    ``simulated`` names the parts that are. ``needs`` is None where Nova chose the device.
    ``vm_uuid`` is None in what smartvif 0.1.0 wrote.
    """

    vm: str
    vm_uuid: str | None = None
    vf: VfIdentity | None = None
    mode: Mode
    switch: str
    vif_type: str
    bridge: str | None = None
    network: str | None = None
    mac: str
    vlan: int | None = None
    mtu: int | None = None
    switch_port: str | None = None
    socket: str | None = None
    simulated: tuple[str, ...] = ()
    needs: Needs | None = None

    def as_json(self) -> dict[str, object]:
        """Stable keys; documented in docs/reference/cli.md, "Facts of a port"."""
        return {
            "vif_type": self.vif_type,
            "vm": self.vm,
            "mode": str(self.mode),
            "switch": self.switch,
            "bridge": self.bridge,
            "network": self.network,
            "mac": self.mac,
            "vlan": self.vlan,
            "mtu": self.mtu,
            "pf": None if self.vf is None else str(self.vf.pf),
            "switch_port": self.switch_port,
            "socket": self.socket,
            "simulated": list(self.simulated),
            "needs": None if self.needs is None else self.needs.as_json(),
        }

    def dump(self) -> str:
        """The text for the journal."""
        vf = self.vf
        identity = None if vf is None else {"number": vf.number, "address": str(vf.address)}
        return json.dumps(
            {**self.as_json(), "version": _VERSION, "vm_uuid": self.vm_uuid, "vf": identity}
        )

    @classmethod
    def load(cls, text: str, vf: str | None = None) -> PortFacts:
        """What ``dump`` gave, of this version or of 0.1.0; ``vf`` is the VF that the row names.

        Raises: Damaged, for what is neither.
        """
        try:
            document = json.loads(text)
            version = document.get("version", 0)
            if not 0 <= version <= _VERSION:
                raise ValueError(f"its version is {version}, and {_VERSION} is the newest known")
            return _facts(document, vf)
        except (AttributeError, KeyError, TypeError, ValueError, SmartvifError) as error:
            problem = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else error
            raise Damaged(
                f"the facts of a port cannot be read: {problem}",
                hint="detach it, or restore the file from a backup",
            ) from error

    def spec(self, port_id: str) -> PortSpec:
        """The same attachment for another host, which chooses the VF.

        Raises: Invalid.
        """
        from smartvif.model.port_spec import PortSpec

        return PortSpec(
            vm=self.vm,
            id=port_id,
            mac=self.mac,
            mode=self.mode,
            switch=self.switch,
            bridge=self.bridge,
            network=self.network,
            vlan=self.vlan,
            mtu=self.mtu,
            needs=NOTHING_SPECIAL if self.needs is None else self.needs,
        )


def _facts(document: dict[str, object], vf: str | None) -> PortFacts:
    needs = document.get("needs")
    return PortFacts(
        vm=_required(document, "vm", str),
        vm_uuid=_optional(document, "vm_uuid", str),
        vf=_identity(document, vf),
        mode=Mode(_required(document, "mode", str)),
        switch=_required(document, "switch", str),
        vif_type=_required(document, "vif_type", str),
        bridge=_optional(document, "bridge", str),
        network=_optional(document, "network", str),
        mac=_required(document, "mac", str),
        vlan=_optional(document, "vlan", int),
        mtu=_optional(document, "mtu", int),
        switch_port=_optional(document, "switch_port", str),
        socket=_optional(document, "socket", str),
        simulated=tuple(_required(document, "simulated", list)),
        needs=None if needs is None else Needs.from_json(cast(dict[str, object], needs)),
    )


def _identity(document: dict[str, object], vf: str | None) -> VfIdentity | None:
    identity: dict[str, Any] = _optional(document, "vf", dict) or {}
    address, pf = identity.get("address", vf), _optional(document, "pf", str)
    if address is None or pf is None:
        return None
    return VfIdentity(
        pf=PciAddress.parse(pf),
        number=_optional(identity, "number", int),
        address=PciAddress.parse(address),
    )


def _required(document: dict[str, object], key: str, kind: Callable[..., T]) -> T:
    value = document[key]
    if not isinstance(value, cast(type, kind)):
        raise TypeError(f"'{key}' is {value!r}")
    return cast(T, value)


def _optional(document: dict[str, object], key: str, kind: Callable[..., T]) -> T | None:
    return None if document.get(key) is None else _required(document, key, kind)
