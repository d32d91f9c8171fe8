"""A machine and its ports, as one host describes them to another: the same on both, as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from smartvif.model.errors import Invalid
from smartvif.model.needs import Needs
from smartvif.model.port_spec import Mode, PortSpec
from smartvif.model.switch import Switch
from smartvif.model.vif import Machine
from smartvif.plug.journal import PortRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedPort:
    """One port. It keeps its identifier and its MAC address; its VF is the new host's choice."""

    id: str
    mac: str
    mode: str
    switch: str
    bridge: str | None
    network: str | None
    vlan: int | None
    mtu: int | None
    needs: dict[str, Any] | None = None

    @property
    def transparent(self) -> bool:
        """Whether it can move without the guest's noticing; a passed-through VF stays behind."""
        return self.mode != Mode.DIRECT

    def request(self, vm: str) -> PortSpec:
        """It as an attachment on the host where this runs.

        Raises: Invalid.
        """
        return PortSpec(
            vm=vm,
            id=self.id,
            mac=self.mac,
            mode=Mode(self.mode),
            switch=Switch(self.switch),
            bridge=self.bridge,
            network=self.network,
            vlan=self.vlan,
            mtu=self.mtu,
            needs=Needs.from_json(self.needs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOffer:
    """A machine with its ports."""

    vm: str
    uuid: str
    ports: tuple[OfferedPort, ...]

    @property
    def machine(self) -> Machine:
        """The machine."""
        return Machine(uuid=self.uuid, name=self.vm)

    def as_json(self) -> dict[str, Any]:
        """For the way to the other host."""
        return asdict(self)

    @classmethod
    def of(cls, vm: str, uuid: str, records: Iterable[PortRecord]) -> MachineOffer:
        """The machine with the ports of the journal's ``records``."""
        keys = ("mac", "mode", "switch", "bridge", "network", "vlan", "mtu")
        return cls(
            vm=vm,
            uuid=uuid,
            ports=tuple(
                OfferedPort(
                    id=record.id,
                    needs=record.facts.get("needs"),  # not in what older versions wrote
                    **{key: record.facts[key] for key in keys},
                )
                for record in records
            ),
        )

    @classmethod
    def from_json(cls, document: Any) -> MachineOffer:
        """What ``as_json`` gave.

        Raises: Invalid.
        """
        try:
            ports = tuple(OfferedPort(**port) for port in document["ports"])
            return cls(vm=document["vm"], uuid=document["uuid"], ports=ports)
        except (KeyError, TypeError) as error:
            raise Invalid(
                f"it is not the description of a machine: {error}",
                where="standard input",
                hint="both hosts need the same version of smartvif",
            ) from error
