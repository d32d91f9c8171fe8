"""What virtio-forwarder's four services say: proto2 messages, one to a frame.

The daemon's package is ``virtioforwarder``. A message has no name on the wire, so those that are
the same in two services are one here (Netronome/virtio-forwarder, virtioforwarder.proto, 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

from smartvif.model.errors import Failed

INSTALL = "pip install 'smartvif[virtio-forwarder]'"
MOST_VFS = 8
"""VFs of one bond. The daemon does not count: it writes the ninth over its stack."""
MOST_RELAYS = 64
"""Bits of the daemon's maps of relays; its DPDK may have room for fewer, and mostly has for 32."""

_PACKAGE = "virtioforwarder"
_Field = tuple[int, str, str, str]  # number, label, type, name


class PortControlOp(IntEnum):
    """What is asked of the port control service."""

    ADD = 0
    REMOVE = 1
    ADD_SOCK = 2
    REMOVE_SOCK = 3
    QUERY_PCI = 4


class CoreOp(IntEnum):
    """What is asked of the core scheduler service."""

    UPDATE = 0
    GET_EAL_CORES = 1


class Status(IntEnum):
    """How port control and the core scheduler end."""

    ERROR = 0
    OK = 1


class ReadStatus(IntEnum):
    """How statistics and configuration end; the configuration knows the first two only."""

    OK = 0
    EBADR = 400
    E2BIG = 413
    ENOMEM = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service: its socket's name, its two messages, and the sizes of the daemon's buffers.

    A request longer than ``longest_request`` bytes ends the daemon, or the connection.
    """

    name: str
    request: str
    response: str
    longest_request: int
    longest_response: int


PORT_CONTROL = Service(
    name="port_control",
    request="PortControlRequest",
    response="PortControlResponse",
    longest_request=256 + 16 * MOST_VFS,
    longest_response=256,
)
STATS = Service(
    name="stats",
    request="StatsRequest",
    response="StatsResponse",
    longest_request=512,
    longest_response=960 * 32,
)
CONFIG = Service(
    name="config",
    request="ConfigRequest",
    response="ConfigResponse",
    longest_request=512,
    longest_response=4096,
)
CORE_SCHED = Service(
    name="core_sched",
    request="CoreSchedRequest",
    response="CoreSchedResponse",
    longest_request=1024,
    longest_response=256,
)
SERVICES = (PORT_CONTROL, STATS, CONFIG, CORE_SCHED)


def _direction(source: str, target: str) -> tuple[_Field, ...]:
    """One direction of a relay; the daemon leaves the counters out while its side is not up."""
    counters = [
        f"{unit}_{what}"
        for what in (
            f"rx_from_{source}",
            f"tx_to_{target}",
            f"dropped_{target}_queue_full",
            f"dropped_{target}_not_connected",
        )
        for unit in ("pkts", "bytes")
    ]
    rates = [
        f"{unit}_rate_{what}"
        for what in (f"rx_from_{source}", f"tx_to_{target}")
        for unit in ("pkt", "byte")
    ]
    return (
        (1, "required", "bool", "active"),
        (2, "required", "string", "internal_state"),
        *((number, "optional", "uint64", name) for number, name in enumerate(counters, 3)),
        *((number, "required", "float", name) for number, name in enumerate(rates, 11)),
    )


_ENUMS: Mapping[str, type[IntEnum]] = {
    "Op": PortControlOp,
    "CoreOp": CoreOp,
    "Status": Status,
    "ReadStatus": ReadStatus,
}
_MESSAGES: Mapping[str, tuple[_Field, ...]] = {
    "PciAddress": (
        (1, "required", "uint32", "domain"),
        (2, "required", "uint32", "bus"),
        (3, "required", "uint32", "slot"),
        (4, "required", "uint32", "function"),
    ),
    "PortControlRequest": (
        (1, "required", "Op", "op"),
        (2, "repeated", "PciAddress", "pci_addrs"),
        (3, "optional", "uint32", "virtio_id"),
        (4, "optional", "bool", "conditional"),
        (5, "optional", "string", "name"),
        (6, "optional", "uint32", "mode"),
        (7, "optional", "string", "vhost_path"),
    ),
    "PortControlResponse": (
        (4, "required", "Status", "status"),
        (5, "optional", "int32", "error_code"),
        (6, "optional", "string", "error_code_source"),
        (7, "optional", "string", "query_string"),
    ),
    "Cpus": (
        (1, "optional", "int32", "vf_to_vm"),
        (2, "optional", "int32", "vm_to_vf"),
    ),
    "Vhost": ((1, "required", "string", "vhost_socket_name"),),
    "Vf": ((1, "optional", "string", "pci_addr_str"),),
    "VfToVm": _direction("vf", "vm"),
    "VmToVf": _direction("vm", "vf"),
    "RelayState": (
        (1, "required", "uint32", "id"),
        (2, "required", "bool", "active"),
        (3, "optional", "string", "ident"),
        (4, "optional", "Cpus", "cpu"),
        (5, "required", "Vhost", "vhost"),
        (6, "optional", "Vf", "vf"),
        (7, "required", "VfToVm", "vf_to_vm"),
        (8, "required", "VmToVf", "vm_to_vf"),
        (9, "required", "uint32", "socket_id"),
    ),
    "StatsRequest": (
        (1, "packed", "uint32", "relay"),
        (2, "optional", "bool", "include_inactive"),
        (3, "optional", "uint32", "delay"),
    ),
    "StatsResponse": (
        (1, "required", "ReadStatus", "status"),
        (2, "repeated", "RelayState", "relay"),
    ),
    "RelayCpu": (
        (1, "required", "int32", "relay_number"),
        (2, "required", "int32", "vf2virtio_cpu"),
        (3, "required", "int32", "virtio2vf_cpu"),
    ),
    "ConfigRequest": (),
    "ConfigResponse": (
        (1, "required", "ReadStatus", "status"),
        (5, "repeated", "RelayCpu", "relay_cpu_map"),
    ),
    "CoreSchedRequest": (
        (1, "required", "CoreOp", "op"),
        (2, "repeated", "RelayCpu", "relay_cpu_map"),
    ),
    "CoreSchedResponse": (
        (4, "required", "Status", "status"),
        (5, "optional", "int32", "error_code"),
        (6, "optional", "string", "error_code_source"),
        (7, "repeated", "uint32", "eal_cores"),
    ),
}


class Undecodable(Exception):
    """The bytes are not a message of this kind, or one that lacks what it must have."""


def new(kind: str, **fields: Any) -> Any:
    """A message of a kind, like ``PortControlRequest``; mappings become messages inside it."""
    return _classes()[kind](**fields)


def encode(message: Any) -> bytes:
    """The message's one frame."""
    data: bytes = message.SerializeToString()
    return data


def decode(kind: str, data: bytes) -> Any:
    """The message of a kind that a frame is.

    Raises: Undecodable.
    """
    from google.protobuf.message import DecodeError

    message = _classes()[kind]()
    try:
        message.ParseFromString(data)
        whole = message.IsInitialized()
        # Text of a proto2 message is looked at when it is read, not before.
        text = _is_text(message)
    except (DecodeError, UnicodeDecodeError) as error:
        raise Undecodable(str(error)) from error
    if not text:
        raise Undecodable("a text in it is not UTF-8")
    if not whole:
        raise Undecodable(f"without {', '.join(message.FindInitializationErrors())}")
    return message


def _is_text(message: Any) -> bool:
    """Whether each text in a message is one; what is none, the runtime gives as bytes or raises."""
    return all(
        _is_text(inner) if hasattr(inner, "ListFields") else not isinstance(inner, bytes)
        for _, value in message.ListFields()
        for inner in _each(value)
    )


def _each(value: Any) -> Iterator[Any]:
    """The values of a field that may be repeated."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield from value
    else:
        yield value


@cache
def _classes() -> Mapping[str, Any]:
    """The classes of the messages, in a pool of their own: others may have the real ones loaded.

    Raises: Failed, where there is no protobuf.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise Failed("protobuf's Python module is not installed", hint=INSTALL) from error
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2"
    )
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value in values:
            # The names of an enum's values are its surroundings'.
            enum.value.add(name=f"{name}_{value.name}", number=value)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, label, kind, field_name in fields:
            field = message.field.add(name=field_name, number=number)
            packed = label == "packed"
            field.label = field.Label.Value(f"LABEL_{'REPEATED' if packed else label.upper()}")
            if packed:
                field.options.packed = True
            if kind in _ENUMS or kind in _MESSAGES:
                field.type = field.TYPE_ENUM if kind in _ENUMS else field.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }
