"""Switch ports and a PF's switch as devlink reports them (Documentation/networking/devlink).

Everything is read from the kernel at the moment of the call. A kernel without devlink, a device
that does not register with it, and a missing privilege are all "unknown", never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from smartvif.host.port_name import PortKind, PortName
from smartvif.host.sriov import EswitchMode
from smartvif.model.pci import PciAddress

# include/uapi/linux/devlink.h, enum devlink_command
_ESWITCH_GET, _PORT_GET, _RATE_GET = 29, 5, 74
# ... enum devlink_attr: the few that are needed. pyroute2's own list ends before PORT_EXTERNAL,
# without which the port of another host's VF looks like a local one's.
_ATTRIBUTES = (
    (1, "BUS_NAME", "asciiz"),
    (2, "DEV_NAME", "asciiz"),
    (7, "PORT_NETDEV_NAME", "asciiz"),
    (25, "ESWITCH_MODE", "uint16"),
    (77, "PORT_FLAVOUR", "uint16"),
    (78, "PORT_NUMBER", "uint32"),
    (127, "PORT_PCI_PF_NUMBER", "uint16"),
    (128, "PORT_PCI_VF_NUMBER", "uint16"),
    (149, "PORT_EXTERNAL", "uint8"),
    (150, "PORT_CONTROLLER_NUMBER", "uint32"),
    (164, "PORT_PCI_SF_NUMBER", "uint32"),
    (165, "RATE_TYPE", "uint16"),
)
# ... enum devlink_port_flavour, with the attribute that has the port's number
_FLAVOURS = {
    0: (PortKind.UPLINK, "PORT_NUMBER"),
    3: (PortKind.PF, None),
    4: (PortKind.VF, "PORT_PCI_VF_NUMBER"),
    7: (PortKind.SF, "PORT_PCI_SF_NUMBER"),
}
_FUNCTIONS = {PortKind.PF, PortKind.VF, PortKind.SF}
# ... enum devlink_eswitch_mode
_MODES = {0: EswitchMode.LEGACY, 1: EswitchMode.SWITCHDEV}
_RATE_LEAF = 0  # ... enum devlink_rate_type


@dataclass(frozen=True, slots=True, kw_only=True)
class DevlinkPort:
    """A switch port that has a network interface; ``device`` is the PCI device of the switch."""

    netdev: str
    device: str
    name: PortName


def ports() -> tuple[DevlinkPort, ...]:
    """The switch ports of every PCI device in this network namespace; none where devlink is not."""
    found = (to_port(attributes) for attributes in _ask(_PORT_GET, dump=True))
    return tuple(port for port in found if port is not None)


def eswitch_mode(pf: PciAddress) -> EswitchMode:
    """The mode of the switch of ``pf``; ``unknown`` where devlink does not report it.

    The kernel reports it to CAP_NET_ADMIN only (net/devlink/dev.c, GENL_UNS_ADMIN_PERM).
    """
    answers = _ask(_ESWITCH_GET, BUS_NAME="pci", DEV_NAME=str(pf))
    modes = [_MODES.get(attributes.get("ESWITCH_MODE", -1)) for attributes in answers]
    return next((mode for mode in modes if mode is not None), EswitchMode.UNKNOWN)


def limits_rates(pf: PciAddress) -> bool:
    """Whether the driver of ``pf`` reports that it can limit the rate of single functions.

    It reports a "leaf" for each of them (Documentation/networking/devlink/devlink-port.rst, "Rate
    object management"). Drivers make them in switchdev mode only, so False is not a no. From Linux
    6.6 on nothing is read of other PFs, and reading ends with the first leaf.
    """

    def is_one(message: Mapping[str, Any]) -> bool:
        return is_rate_leaf(to_attributes(message), pf)

    answers = _ask(_RATE_GET, dump=True, until=is_one, BUS_NAME="pci", DEV_NAME=str(pf))
    return any(is_rate_leaf(attributes, pf) for attributes in answers)


def is_rate_leaf(attributes: Mapping[str, Any], pf: PciAddress) -> bool:
    """Whether a message reports a function of ``pf`` whose rate can be limited."""
    device = attributes.get("BUS_NAME"), attributes.get("DEV_NAME")
    return device == ("pci", str(pf)) and attributes.get("RATE_TYPE") == _RATE_LEAF


def to_port(attributes: Mapping[str, Any]) -> DevlinkPort | None:
    """A port from the attributes of its message; None if it is not PCI's or has no interface."""
    netdev, device = attributes.get("PORT_NETDEV_NAME"), attributes.get("DEV_NAME")
    if not netdev or not device or attributes.get("BUS_NAME") != "pci":
        return None
    kind, counter = _FLAVOURS.get(attributes.get("PORT_FLAVOUR", -1), (PortKind.OTHER, None))
    controller = attributes.get("PORT_CONTROLLER_NUMBER", 0)
    if not attributes.get("PORT_EXTERNAL"):
        controller = 0
    elif not controller:  # a function of another host, which is not named: never a local one
        kind, counter = PortKind.OTHER, None
    name = PortName(
        kind=kind,
        controller=controller,
        pf=attributes.get("PORT_PCI_PF_NUMBER") if kind in _FUNCTIONS else None,
        number=attributes.get(counter) if counter else None,
    )
    return DevlinkPort(netdev=netdev, device=device, name=name)


def to_attributes(message: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a decoded message by name; those not in the list are left out."""
    return {name: value for name, value in message["attrs"] if name != "UNKNOWN"}


def _ask(
    command: int,
    *,
    dump: bool = False,
    until: Callable[[Mapping[str, Any]], bool] | None = None,
    **attributes: str,
) -> Iterator[Mapping[str, Any]]:
    """The answers to a question; of a dump those up to the piece with one that is ``until``."""
    from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.generic import GenericNetlinkSocket

    message = message_class()()
    message["cmd"], message["version"] = command, 1
    message["attrs"] = [[name, value] for name, value in attributes.items()]
    flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else NLM_F_ACK)
    try:
        with GenericNetlinkSocket() as socket:
            socket.asyncore.module_err_level = "debug"  # absence is an answer, not a fault
            socket.bind("devlink", message_class())
            answers = list(socket.nlm_request(message, socket.prid, flags, until))
    except (NetlinkError, OSError):
        return iter(())
    return map(to_attributes, answers)


@cache
def message_class() -> Any:
    """pyroute2's form of a devlink message; made at first use, for pyroute2 is slow to import."""
    from pyroute2.netlink import genlmsg

    members = {"prefix": "", "nla_map": _ATTRIBUTES, "__slots__": ()}
    return type("DevlinkMessage", (genlmsg,), members)
