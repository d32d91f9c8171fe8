"""The allow-list of PCI devices on this host: generate one, check one, read its rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from smartvif.choose.allow_list import nova_conf
from smartvif.choose.allow_list.match import Rules, Verdict, match_all, warnings
from smartvif.choose.allow_list.spec import DeviceSpec, parse
from smartvif.host import pci_devices
from smartvif.host.function_driver import pf_problem
from smartvif.host.pci_devices import PciDevice
from smartvif.host.sriov import EswitchMode, Pf
from smartvif.model.document import JsonObject
from smartvif.model.errors import Invalid, NotFound

NOVA_CONF = Path("/etc/nova/nova.conf")
_LATER = "it matches too, and an earlier one decides"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowListReport:
    """What a list allows on this host. ``source`` is its nova.conf; None: our configuration."""

    source: str | None
    specs: tuple[DeviceSpec, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def idle(self) -> tuple[DeviceSpec, ...]:
        """The entries that match no device."""
        return tuple(spec for index, spec in enumerate(self.specs) if not self._matching(index))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings: what is allowed and is probably a mistake."""
        return warnings(self.specs, self.verdicts)

    def as_json(self) -> JsonObject:
        """Stable keys; documented in docs/reference/cli.md."""
        return {
            "source": self.source,
            "entries": [
                {"where": spec.where, "spec": json.loads(spec.text), "matches": matches}
                for spec, matches in zip(self.specs, self._counts(), strict=True)
            ],
            "devices": [self._device(verdict) for verdict in self.verdicts],
            "warnings": list(self.warnings),
        }

    def _device(self, verdict: Verdict) -> JsonObject:
        device, first = verdict.device, verdict.first
        reasons = enumerate(zip(self.specs, verdict.reasons, strict=True))
        return {
            "address": str(device.address),
            "vendor_id": device.vendor,
            "product_id": device.product,
            "pf": None if device.parent is None else str(device.parent),
            "netdevs": list(device.netdevs),
            "entry": None if first is None else self.specs[first].where,
            "reasons": [
                {"where": spec.where, "reason": reason or _LATER}
                for index, (spec, reason) in reasons
                if index != first
            ],
        }

    def _counts(self) -> list[int]:
        return [self._matching(index) for index in range(len(self.specs))]

    def _matching(self, index: int) -> int:
        return sum(verdict.reasons[index] is None for verdict in self.verdicts)


def generate(pfs: Sequence[Pf]) -> tuple[dict[str, str | None], ...]:
    """One entry, for its VFs only, for each PF with VFs in switchdev mode.

    The network is null, because the switch decides it, not the card.
    Raises: NotFound, where there is no such PF.
    """
    found = tuple(
        {
            "vendor_id": pf.vfs[0].vendor,
            # A PF's address is for the PF too; all VFs of one PF have the same product
            # (PCI SIG SR-IOV, "VF Device ID"), on network cards another one than the PF.
            "product_id": pf.vfs[0].device,
            "address": str(pf.address),
            "physical_network": None,
        }
        for pf in pfs
        if pf.vfs and pf.eswitch is EswitchMode.SWITCHDEV
    )
    if not found:
        there = ", ".join(f"{pf.address} ({_state(pf)}, {len(pf.vfs)} VFs)" for pf in pfs)
        raise NotFound(
            "no PF has VFs in switchdev mode", where="SmartNICs", hint=f"PFs: {there or 'none'}"
        )
    return found


def _state(pf: Pf) -> str:
    """The mode of its switch, or why that is unknown."""
    problem = pf_problem(pf.address, pf.driver, pf.netdev)
    return str(pf.eswitch) if problem is None else problem.what.removeprefix(f"PF {pf.address} ")


def check(file: Path | None, configured: tuple[DeviceSpec, ...]) -> AllowListReport:
    """Compare all PCI devices with the list of a nova.conf, or with our own without ``file``.

    Raises: Invalid, naming the line; NotFound, where there is no list.
    """
    if configured and file is None:
        return _report(None, configured)
    path = file or NOVA_CONF
    try:
        return _report(str(path), _of_nova(path))
    except Invalid as error:
        where = f"{path}, {error.where}" if error.where else str(path)
        raise Invalid(error.what, where=where, hint=error.hint) from error


def _report(source: str | None, specs: tuple[DeviceSpec, ...]) -> AllowListReport:
    return AllowListReport(source=source, specs=specs, verdicts=match_all(specs, _devices(specs)))


def _of_nova(path: Path) -> tuple[DeviceSpec, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot read it: {error}", hint="name a nova.conf") from error
    found = nova_conf.read(text)
    read = [
        parse(entry.text, f"line {entry.line}", placement=found.report_in_placement)
        for entry in found.entries
    ]
    if not any(read):
        raise NotFound(
            "there is no [pci] device_spec, so no guest can get a PCI device",
            where=str(path),
            hint="smartvif device-spec writes one for this host",
        )
    return tuple(chain.from_iterable(read))


def rules(specs: Sequence[DeviceSpec]) -> Rules | None:
    """The list's rules for every function of this host; None where it is empty.

    Raises: Invalid, for an entry that cannot be right on this host.
    """
    if not specs:
        return None
    return Rules(
        entries={
            verdict.device.address: None if verdict.first is None else specs[verdict.first]
            for verdict in match_all(specs, _devices(specs))
        }
    )


def _devices(specs: Iterable[DeviceSpec]) -> tuple[PciDevice, ...]:
    return pci_devices.devices(serials=any(spec.remote_managed for spec in specs))
