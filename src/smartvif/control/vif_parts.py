"""The parts that VIFs are made of, whichever switch they are for."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace

from smartvif.control import names
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Port
from smartvif.model.vif import Offload, SocketMode, Vif, VifKind

VifBuilder = Callable[[Port, Binding], Vif]
"""Makes the VIF of a port as the controller has bound it. Raises Invalid for what is missing."""


def start(port: Port, binding: Binding, kind: VifKind, plugin: str) -> Vif:
    """What every VIF has; it is on no bridge.

    The physical network is only needed to choose the VF, and os-vif has no field for it: it is
    left out, so that VIFs of Nova and of smartvif are equal.

    Raises: Invalid, for a malformed MAC or IP address.
    """
    return Vif(
        id=port.id,
        kind=kind,
        plugin=plugin,
        address=checks.mac(port.mac),
        network=replace(port.network, bridge=None, physical_network=None),
        has_traffic_filtering=flag(binding, "port_filter"),
        fixed_ips=tuple(_ip(port, address) for address in port.fixed_ips),
        trusted=port.needs.trusted,
    )


def on_bridge(vif: Vif, port: Port, binding: Binding) -> Vif:
    """``vif`` in a network that is a bridge on this host: the controller's goes before the port's.

    Raises: Invalid, where neither names one.
    """
    bridge = text(binding, "bridge_name") or port.network.bridge
    if bridge is None:
        raise Invalid(
            "neither the binding nor the network names a bridge",
            where=f"port {port.id}",
            hint="vif_details must have bridge_name",
        )
    return replace(vif, network=replace(vif.network, bridge=checks.ifname(bridge)))


def with_socket(vif: Vif, binding: Binding) -> Vif:
    """``vif`` with the guest's vhost-user socket.

    Raises: Invalid, where the binding names none that can be, or an unknown mode.
    """
    path = text(binding, "vhostuser_socket")
    if not path:
        raise Invalid(
            "the binding names no vhost-user socket",
            where=f"port {vif.id}",
            hint="vif_details must have vhostuser_socket, the path of the guest's socket",
        )
    with checks.about(f"port {vif.id}"):
        checks.socket_path(path)
    mode = binding.details.get("vhostuser_mode", SocketMode.SERVER.value)
    try:
        return replace(vif, path=path, mode=SocketMode(str(mode)))
    except ValueError:
        raise Invalid(
            f"'{mode}' is not a vhost-user mode",
            where=f"port {vif.id}",
            hint="vhostuser_mode says what QEMU is: client or server",
        ) from None


def offload(port: Port) -> Offload:
    """The datapath that is offloaded to the port's VF.

    Raises: Invalid, where the port has none.
    """
    return Offload(representor_name=names.tap(port.id), representor_address=vf(port))


def vf(port: Port) -> PciAddress:
    """The address of the port's VF.

    Raises: Invalid, where none is claimed.
    """
    if port.vf is None:
        raise Invalid(
            f"no VF is claimed for a port of VNIC type '{port.vnic_type}'",
            where=f"port {port.id}",
            hint="claim one first: its address goes into pci_slot of the binding profile",
        )
    return port.vf


def flag(binding: Binding, key: str) -> bool:
    """A detail that is true, or false or absent."""
    return bool(binding.details.get(key, False))


def text(binding: Binding, key: str) -> str | None:
    """A detail that is text, or None."""
    value = binding.details.get(key)
    return value if isinstance(value, str) else None


def _ip(port: Port, address: str) -> str:
    """An IP address in its one spelling (RFC 5952)."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise Invalid(
            f"'{address}' is not an IP address",
            where=f"port {port.id}",
            hint="fixed_ips are addresses without a prefix length",
        ) from None
