"""Which entry of an allow-list a PCI device matches, and why the others do not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from smartvif.choose.allow_list.address import AddressSpec, exactly
from smartvif.choose.allow_list.spec import DeviceSpec
from smartvif.host.pci_devices import PciDevice
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

_HIGHEST_DOMAIN = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Per entry, the reason why one device does not match it; None where it matches."""

    device: PciDevice
    reasons: tuple[str | None, ...]

    @property
    def first(self) -> int | None:
        """The index of the entry that decides: the first that matches, as in Nova."""
        return self.reasons.index(None) if None in self.reasons else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """An entry resolved on this host.

    ``address`` is None where its interface does not exist; ``pf`` is the PF at the address.
    """

    spec: DeviceSpec
    address: AddressSpec | None
    pf: PciDevice | None


def match_all(specs: Sequence[DeviceSpec], devices: Sequence[PciDevice]) -> tuple[Verdict, ...]:
    """The verdict on each device. ``devices`` are all that the host has.

    Raises: Invalid, for an entry that cannot be right on this host.
    """
    targets = [_target(spec, devices) for spec in specs]
    return tuple(
        Verdict(device=device, reasons=tuple(_reason(target, device) for target in targets))
        for device in devices
    )


def warnings(specs: Sequence[DeviceSpec], verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Warnings: what is allowed and is probably a mistake, each with the entry's place."""
    found = []
    for index, spec in enumerate(specs):
        found += [f"{spec.where}: {note}" for note in spec.notes]
        matching = [verdict for verdict in verdicts if verdict.reasons[index] is None]
        deciding = [verdict.device for verdict in matching if verdict.first == index]
        if matching and not deciding:
            found.append(f"{spec.where}: it decides nothing, earlier entries match all it matches")
        foreign = [str(device.address) for device in deciding if not device.is_network]
        if foreign and spec.physical_network is None:
            found.append(
                f"{spec.where}: {foreign[0]} is no network card, and without a physical_network"
                " Nova can give it to a port on a tunnelled network"
            )
        found += [f"{spec.where}: {note}" for note in _about_pfs(index, spec, verdicts)]
    return tuple(found)


def _about_pfs(index: int, spec: DeviceSpec, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Warnings of an entry that allows a whole card, or that is the first to allow half of one."""
    for pf in (verdict for verdict in verdicts if verdict.device.is_pf):
        device = pf.device
        vfs = [each for each in verdicts if each.device.parent == device.address]
        entries = [each.first for each in vfs if each.first is not None]
        if pf.first == index and device.is_network and not _names_pf_product(spec, device):
            yield _whole_card(device, len(vfs), any_allowed=bool(entries))
        left_out = [str(each.device.address) for each in vfs if each.first is None]
        if left_out and entries and min(entries) == index:
            more = f" and {len(left_out) - 1} more" if left_out[1:] else ""
            yield (
                f"{len(entries)} of {len(vfs)} VFs of {device.address} are allowed,"
                f" and no entry allows {left_out[0]}{more}"
            )


def _names_pf_product(spec: DeviceSpec, pf: PciDevice) -> bool:
    """Whether the entry has the PF's own product, by which it cannot be for VFs."""
    return spec.product == pf.product != pf.vf_product


def _whole_card(pf: PciDevice, vfs: int, *, any_allowed: bool) -> str:
    none = f" and none of its {vfs} VFs" if vfs and not any_allowed else ""
    if pf.vf_product in (None, pf.product):
        instead = "give the addresses of its VFs"
    else:
        instead = f'give "address": "{pf.address}" with "product_id": "{pf.vf_product}"'
    return (
        f"it allows PF {pf.address} itself{none}: a direct-physical port or a PCI alias takes the"
        f" whole card, and the host loses its uplink; for its VFs alone {instead}"
    )


def _target(spec: DeviceSpec, devices: Sequence[PciDevice]) -> _Target:
    if spec.address is None:
        named = next((each for each in devices if spec.devname in each.netdevs), None)
        address = None if named is None else exactly(named.address)
        pf = named if named is not None and named.is_pf else None
    else:
        address, single = spec.address, spec.address.single
        pf = next((each for each in devices if each.is_pf and str(each.address) == single), None)
    if spec.remote_managed:
        _check_remote(spec, address, pf)
    return _Target(spec=spec, address=address, pf=pf)


def _check_remote(spec: DeviceSpec, address: AddressSpec | None, pf: PciDevice | None) -> None:
    """Check what Nova checks: a remotely managed PF has no representor that could be programmed.

    Raises: Invalid.
    """
    if address is None:
        raise Invalid(
            f"it is remote_managed, and there is no interface '{spec.devname}'",
            where=spec.where,
            hint="nova-compute would not start; give an address instead",
        )
    if pf is None:
        return
    if spec.vendor not in (None, pf.vendor) or spec.product not in (
        None,
        pf.product,
        pf.vf_product,
    ):
        raise Invalid(
            f"its ids are neither those of PF {pf.address} nor of the PF's VFs",
            where=spec.where,
            hint=f"the VFs have vendor_id {pf.vendor} and product_id {pf.vf_product}",
        )
    if spec.product is None or spec.product != pf.vf_product:
        raise Invalid(
            f"PF {pf.address} cannot be remote_managed, only its VFs can",
            where=spec.where,
            hint=f'add "product_id": "{pf.vf_product}", which is that of the VFs',
        )


def _reason(target: _Target, device: PciDevice) -> str | None:
    """Why the entry does not match the device; None where it does."""
    spec = target.spec
    if device.address.domain > _HIGHEST_DOMAIN:
        return f"its domain is above {_HIGHEST_DOMAIN:x}, and Nova passes over it"
    if spec.vendor not in (None, device.vendor):
        return f"its vendor is {device.vendor}, not {spec.vendor}"
    if spec.product not in (None, device.product):
        return f"its product is {device.product}, not {spec.product}"
    if spec.remote_managed and not device.serial:
        return "it is remote_managed, and the card shows no serial number"
    return _elsewhere(target, device)


def _elsewhere(target: _Target, device: PciDevice) -> str | None:
    """How its address differs; None where it does not. A PF's address includes its VFs."""
    if target.address is None:
        return f"there is no PCI device with an interface '{target.spec.devname}'"
    difference = target.address.difference(device.address)
    if difference is None or target.pf is None or device.parent is None:
        return difference
    if target.address.difference(device.parent) is None:
        return None
    return f"it is no VF of {target.pf.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The allow-list on this host: for each function the entry that decides, or None.

    Without a list every VF is allowed, for tunnelled networks, and no PF.
    """

    entries: Mapping[PciAddress, DeviceSpec | None]

    def tags(self, address: PciAddress) -> dict[str, str | None] | None:
        """The tags of the entry that allows a function; None where it is not allowed."""
        entry = self.entries.get(address)
        return None if entry is None else dict(entry.tags)
