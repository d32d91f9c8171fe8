"""The messages of virtio-forwarder's four services: those of virtioforwarder.proto, beside this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any

from smartvif.model.errors import Failed

INSTALL = "pip install 'smartvif[virtio-forwarder]'"
MOST_VFS = 8
"""VFs of one bond. The daemon does not count: it writes the ninth over its stack."""
MOST_RELAYS = 64
"""Bits of the daemon's maps of relays; its DPDK may have room for fewer, and mostly has for 32."""

_COMPILED = "virtioforwarder.desc"  # of virtioforwarder.proto, as that says


class PortControlOp(IntEnum):
    """The operations of the port control service."""

    ADD = 0
    REMOVE = 1
    ADD_SOCK = 2
    REMOVE_SOCK = 3
    QUERY_PCI = 4


class CoreOp(IntEnum):
    """The operations of the core scheduler service."""

    UPDATE = 0
    GET_EAL_CORES = 1


class Status(IntEnum):
    """The result codes of port control and the core scheduler."""

    ERROR = 0
    OK = 1


class ReadStatus(IntEnum):
    """The result codes of statistics and configuration; configuration has the first two only."""

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
    shipped = resources.files(__package__).joinpath(_COMPILED).read_bytes()
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(shipped).file
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        each.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{file.package}.{each.name}")
        )
        for each in file.message_type
    }
