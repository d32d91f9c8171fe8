"""os-vif objects as our values.

An os-vif object is read by its field names only (os_vif/objects/vif.py, 5.3.0), so nothing of
OpenStack is imported here. A declared default is not applied to an unset field, and reading
such a field raises NotImplementedError; hence ``'field' in obj`` before every read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, TypeVar

from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import Network
from smartvif.model.vif import Offload, PortProfile, ProfileKind, SocketMode, Vif, VifKind

_Kind = TypeVar("_Kind", bound=StrEnum)


class _OffloadKind(StrEnum):
    REPRESENTOR = "DatapathOffloadRepresentor"


def from_osvif(obj: Any) -> Vif:
    """The value of an ``os_vif.objects.vif.VIFBase``; what is unset there is the default here.

    Raises: Invalid, for a class of VIF, profile or offload that smartvif does not plug, for a
    VIF without a MAC address or network, and for a profile that contradicts itself.
    """
    where = f"VIF {obj.id}"
    mode = _get(obj, "mode")
    return Vif(
        id=obj.id,
        kind=_kind(obj, where),
        plugin=obj.plugin,
        address=_required(obj, "address", where),
        network=_network(_required(obj, "network", where)),
        vif_name=_get(obj, "vif_name"),
        bridge_name=_get(obj, "bridge_name"),
        path=_get(obj, "path"),
        mode=None if mode is None else SocketMode(mode),
        dev_address=_pci(_get(obj, "dev_address")),
        profile=_profile(_get(obj, "port_profile"), where),
        has_traffic_filtering=_get(obj, "has_traffic_filtering", False),
        fixed_ips=tuple(_fixed_ips(obj.network)),
    )


def _kind(obj: Any, where: str) -> VifKind:
    kind = _known(VifKind, obj, where)
    if _get(obj, "dev_type", "ethernet") != "ethernet":
        raise Invalid(
            f"a {kind} of dev_type '{obj.dev_type}' has no network interface",
            where=where,
            hint="only dev_type 'ethernet' can be plugged",
        )
    return kind


def _network(obj: Any) -> Network:
    return Network(
        id=obj.id,
        bridge=_get(obj, "bridge"),
        vlan=_get(obj, "vlan"),
        # Neutron's old way to say that it does not know is 0; vif_plug_ovs reads it so too.
        mtu=_get(obj, "mtu") or None,
    )


def _fixed_ips(network: Any) -> Iterator[str]:
    """Every address of every subnet, in order: floating ones are not the guest's."""
    for subnet in _listed(network, "subnets"):
        for ip in _listed(subnet, "ips"):
            yield str(ip.address)


def _listed(obj: Any, field: str) -> Iterable[Any]:
    """The objects of an ObjectListBase."""
    found = _get(obj, field)
    return () if found is None else _get(found, "objects", ())


def _profile(obj: Any, where: str) -> PortProfile | None:
    if obj is None:
        return None
    return PortProfile(
        kind=_known(ProfileKind, obj, where),
        interface_id=_get(obj, "interface_id"),
        datapath_type=_get(obj, "datapath_type"),
        create_port=_get(obj, "create_port", False),
        create_tap=_get(obj, "create_tap", False),
        multiqueue=_get(obj, "multiqueue", False),
        bridge_name=_get(obj, "bridge_name"),
        hybrid_plug=_get(obj, "hybrid_plug", False),
        offload=_offload(obj, where),
    )


def _offload(profile: Any, where: str) -> Offload | None:
    """The offload, from ``datapath_offload`` or from the fields that came before it.

    VIFPortProfileOVSRepresentor has its own name and address; os-vif deprecates them in favour
    of ``datapath_offload``, and Nova fills both.
    """
    obj = _get(profile, "datapath_offload")
    old = _representor(profile)
    if obj is None:
        return None if old == Offload() else old
    _known(_OffloadKind, obj, where)
    offload = _representor(obj)
    for was, now in (
        (old.representor_name, offload.representor_name),
        (old.representor_address, offload.representor_address),
    ):
        if was is not None and was != now:
            raise Invalid(
                f"the port profile says representor '{was}', its datapath_offload '{now}'",
                where=where,
                hint="the two must be equal, or the profile's own be left out",
            )
    return offload


def _representor(obj: Any) -> Offload:
    return Offload(
        representor_name=_get(obj, "representor_name"),
        representor_address=_pci(_get(obj, "representor_address")),
    )


def _pci(text: str | None) -> PciAddress | None:
    """In any spelling: os-vif keeps ``representor_address`` as it was written."""
    return None if text is None else PciAddress.parse(text)


def _known(kinds: type[_Kind], obj: Any, where: str) -> _Kind:
    """The kind named after the object's class."""
    try:
        return kinds(obj.obj_name())
    except ValueError:
        raise Invalid(
            f"smartvif cannot plug a {obj.obj_name()}",
            where=where,
            hint="supported: " + ", ".join(kinds),
        ) from None


def _required(obj: Any, field: str, where: str) -> Any:
    value = _get(obj, field)
    if value is None:
        raise Invalid(
            f"the VIF has no {field}", where=where, hint="the service that made the VIF must set it"
        )
    return value


def _get(obj: Any, field: str, default: Any = None) -> Any:
    return getattr(obj, field) if field in obj else default
