"""What the vRouter agent's port API reads and writes: ports as JSON, checked as the agent does.

The order of the checks, the texts of the errors and the keys are the agent's
(tf-controller, src/vnsw/agent/port_ipc/port_ipc_handler.cc, read in 2026).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from smartvif.model.errors import Invalid

AUTHOR = "smartvif-simulated-vrouter-agent"
NIL = "00000000-0000-0000-0000-000000000000"
NO_VLAN = 0xFFFF
_NO_TX_VLAN = 0xFFFE
_NO_MAC = "00:00:00:00:00:00"

_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")
_INT32 = range(-(2**31), 2**31)


class AgentPortType(IntEnum):
    """Whose port it is. A remote one is a port of ESXi: this host has no netdev for it."""

    VM = 0
    NAMESPACE = 1
    REMOTE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPortMessage:
    """A port as the agent has it. What cannot be read is nil: an identifier, an address.

    ``mac_address`` is as it was sent; ``mac_bytes`` reads it. VLANs have 16 bits, 65535 is none.
    ``vhostuser_mode`` is QEMU's role: 0 is client, 1 server. ``link_state`` is 1 for up.
    """

    id: str
    instance_id: str
    vn_id: str
    vm_project_id: str
    display_name: str
    ip_address: str
    ip6_address: str
    type: AgentPortType
    system_name: str
    mac_address: str
    rx_vlan: int = NO_VLAN
    tx_vlan: int = NO_VLAN
    vhostuser_mode: int = 0
    link_state: int = 1


def read(body: str, *kinds: type) -> Any:
    """A JSON value of one of the kinds.

    Raises: Invalid, in the agent's words.
    """
    try:
        value = json.loads(body)
        # Python takes more than is JSON: NaN, and halves of characters that nothing can write.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Invalid(f"Invalid Json string ==> {body}") from error
    if not isinstance(value, kinds):
        raise Invalid(f"Unexpected Json string ==> {body}")
    return value


def ports(body: str, exists: Callable[[str], bool] | None = None) -> list[AgentPortMessage]:
    """The port of an object, or those of an array.

    ``exists`` tells whether there is a netdev of that name; without it, that is not looked at.
    Raises: Invalid, in the agent's words.
    """
    value = read(body, dict, list)
    if isinstance(value, dict):
        return [port(value, exists)]
    found = []
    for element in value:
        if not isinstance(element, dict):
            raise Invalid(f"Json Array has invalid element ==> {body}")
        found.append(port(element, exists))
    return found


def port(value: Mapping[str, Any], exists: Callable[[str], bool] | None = None) -> AgentPortMessage:
    """The port that an object describes. Unknown keys are passed over. ``exists``: as above.

    Raises: Invalid, in the agent's words.
    """
    port_id, instance, network, project = (
        _uuid(value, key) for key in ("id", "instance-id", "vn-id", "vm-project-id")
    )
    display_name = _string(value, "display-name")
    ip_address = _address(IPv4Address, _string(value, "ip-address"))
    ip6_address = _address(IPv6Address, _string(value, "ip6-address"))
    number = _integer(value, "type")
    kind = (
        AgentPortType(number)
        if number in (AgentPortType.NAMESPACE, AgentPortType.REMOTE)
        else AgentPortType.VM
    )
    if kind is AgentPortType.VM and network == NIL:
        raise Invalid("Invalid VN uuid")
    system_name = _string(value, "system-name")
    if exists is not None and kind is not AgentPortType.REMOTE and not exists(system_name):
        raise Invalid("Interface does not exist in OS")
    mac_address = _string(value, "mac-address")
    if mac_address.count(":") != 5 or not any(mac_bytes(mac_address)):
        raise Invalid("Invalid MAC, Use xx:xx:xx:xx:xx:xx format")
    rx_vlan, tx_vlan = _integer(value, "rx-vlan-id"), _integer(value, "tx-vlan-id")
    # Compared before they are cut to 16 bits: to this check, -1 is a VLAN.
    if rx_vlan != NO_VLAN and tx_vlan == _NO_TX_VLAN:
        raise Invalid("Invalid request. RX (isolated) vlan set, but TX vlan not set")
    return AgentPortMessage(
        id=port_id,
        instance_id=instance,
        vn_id=network,
        vm_project_id=project,
        display_name=display_name,
        ip_address=ip_address,
        ip6_address=ip6_address,
        type=kind,
        system_name=system_name,
        mac_address=mac_address,
        rx_vlan=rx_vlan & 0xFFFF,
        tx_vlan=tx_vlan & 0xFFFF,
        vhostuser_mode=_integer(value, "vhostuser-mode", 0) & 0xFF,
        link_state=_integer(value, "link-state", int(kind is not AgentPortType.REMOTE)) & 0xFF,
    )


def container(body: str) -> AgentPortMessage:
    """The port of a container (POST /vm). What only its configuration tells is nil.

    Raises: Invalid, in the agent's words.
    """
    value = read(body, dict)
    vm, host_ifname = _uuid(value, "vm-uuid"), _string(value, "host-ifname")
    vm_name = _string(value, "vm-name")
    return AgentPortMessage(
        vn_id=_uuid(value, "vn-uuid"),
        id=_uuid(value, "vmi-uuid"),
        instance_id=vm,
        vm_project_id=NIL,
        display_name=vm_name,
        ip_address="0.0.0.0",  # noqa: S104  (not an address to listen on)
        ip6_address="::",
        type=AgentPortType.VM,
        system_name=host_ifname,
        mac_address=_NO_MAC,
    )


def gateways(body: str, *, names_only: bool = False) -> dict[str, Any]:
    """The virtual gateways of an array, by interface; to delete one its name is enough.

    Raises: Invalid, in the agent's words.
    """
    values = read(body, object)
    if not isinstance(values, list):
        raise Invalid(f"Unexpected Json string (not an array) ==> {body}")
    for value in values:
        if not isinstance(value, dict):
            raise Invalid(f"Json Array has invalid element ==> {body}")
        if names_only and not isinstance(value.get("interface"), str):
            raise Invalid(
                f"Json string does not have or has invalid value for member interface ==> {body}"
            )
        if not names_only and (missing := _missing(value)):
            raise Invalid(
                f"Json string does not have all required members, {missing} is missing ==> {body}"
            )
    return {value["interface"]: value for value in values}


def mac_bytes(text: str) -> bytes:
    """The six bytes of a MAC address, zero from where it cannot be read."""
    found = bytearray()
    for group in text.split(":"):
        if re.fullmatch("[0-9A-Fa-f]{1,2}", group) is None:
            break
        found.append(int(group, 16))
    return bytes(found[:6].ljust(6, b"\0"))


def uuid(text: str) -> str:
    """An identifier in lower case with dashes; nil, if it is none."""
    lower = text.lower()
    if _UUID.fullmatch(lower) is None:
        return NIL
    digits = lower.replace("-", "")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def file_text(port: AgentPortMessage, now: float) -> str:
    """What a port's file says. ``now`` is in seconds since 1970."""
    link_state = {"link-state": port.link_state} if port.type is AgentPortType.REMOTE else {}
    return _pretty(
        {
            "id": port.id,
            "instance-id": port.instance_id,
            "display-name": port.display_name,
            "ip-address": port.ip_address,
            "ip6-address": port.ip6_address,
            "vn-id": port.vn_id,
            "vm-project-id": port.vm_project_id,
            "mac-address": port.mac_address,
            "system-name": port.system_name,
            "type": port.type,
            "rx-vlan-id": port.rx_vlan,
            "tx-vlan-id": port.tx_vlan,
            "vhostuser-mode": port.vhostuser_mode,
            **link_state,
            "author": AUTHOR,
            "time": _time(now),
        }
    )


def answer_text(port: AgentPortMessage, now: float) -> str:
    """What GET says of a port. ``now`` is in seconds since 1970.

    No address management is simulated: each address is a network alone, without DNS or gateway.
    """
    none, none6 = str(IPv4Address(0)), str(IPv6Address(0))
    ip4 = {"ip-address": port.ip_address, "plen": 32, "dns-server": none, "gateway": none}
    ip6 = {"v6-ip-address": port.ip6_address, "v6-dns-server": none6, "v6-gateway": none6}
    return _pretty(
        {
            "id": port.id,
            "instance-id": port.instance_id,
            "vn-id": port.vn_id,
            "vm-project-id": port.vm_project_id,
            "mac-address": mac_bytes(port.mac_address).hex(":"),
            "system-name": port.system_name,
            "rx-vlan-id": port.rx_vlan,
            "tx-vlan-id": port.tx_vlan,
            "vhostuser-mode": port.vhostuser_mode,
            **(ip4 if port.ip_address != none else {}),
            **(ip6 if port.ip6_address != none6 else {}),
            "author": AUTHOR,
            "time": _time(now),
        }
    )


def config_text(port: AgentPortMessage) -> str:
    """What GET /vm-cfg says of a port. The network's name is not known: it is its identifier."""
    return _pretty(
        {
            "id": port.id,
            "vm-uuid": port.instance_id,
            "vn-id": port.vn_id,
            "vn-name": port.vn_id,
            "mac-address": mac_bytes(port.mac_address).hex(":"),
            "sub-interface": False,
            "vlan-id": port.rx_vlan,
        }
    )


def error_text(text: str) -> str:
    """The body of an answer that says what is wrong."""
    return json.dumps({"error": text}, ensure_ascii=False, separators=(",", ":"))


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=4)


def _time(now: float) -> str:
    """As the agent writes it: hours, minutes, seconds and microseconds since 1970."""
    seconds, micros = divmod(int(now * 1_000_000), 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"


def _uuid(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise Invalid(f"Invalid or missing data for <{key}>")
    return uuid(text)


def _string(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise Invalid(f"Invalid or missing field for <{key}>")
    return text


def _integer(value: Mapping[str, Any], key: str, default: int | None = None) -> int:
    number = value.get(key)
    if type(number) is int and number in _INT32:  # a bool is not one
        return number
    if default is None:
        raise Invalid(f"Invalid or missing field for <{key}>")
    return default


def _address(family: type[IPv4Address | IPv6Address], text: str) -> str:
    try:
        return str(family(text))
    except AddressValueError:
        return str(family(0))


def _missing(gateway: Mapping[str, Any]) -> str:
    """The first member of a virtual gateway that is missing or wrong, or nothing."""
    for key in ("interface", "routing-instance"):
        if not isinstance(gateway.get(key), str):
            return key
    for key in ("subnets", "routes"):
        values = gateway.get(key)
        if not isinstance(values, list):
            return key
        if not all(_is_subnet(value) for value in values):
            return f"{key} value"
    return ""


def _is_subnet(value: Any) -> bool:
    try:
        IPv4Address(_string(value, "ip-address"))
        _integer(value, "prefix-len")
    except (Invalid, AddressValueError, AttributeError):
        return False
    return True
