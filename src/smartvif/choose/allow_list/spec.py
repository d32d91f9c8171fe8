"""Which PCI devices may be given to guests: an entry of Nova's ``[pci] device_spec``. Pure.

The grammar is Nova 34's (nova/conf/pci.py, nova/pci/devspec.py). What Nova takes and cannot be
meant is refused; each case is in docs/reference/device-spec.md.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from smartvif.choose.allow_list.address import AddressSpec, address_spec, hexadecimal
from smartvif.model import checks
from smartvif.model.errors import Invalid

_ANY = "*"
_SELECTORS = ("vendor_id", "product_id", "address", "devname")
_HIGHEST_ID = 0xFFFF
# oslo.utils, strutils.bool_from_string.
_TRUE = ("1", "t", "true", "on", "y", "yes")
_FALSE = ("0", "f", "false", "off", "n", "no")
# Words for no value in JSON, Python, Ruby, SQL and YAML, as templates write them within quotes.
_NO_VALUE = ("null", "none", "nil", "~", "undefined")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """One entry, and ``where`` it was read.

    ``vendor`` and ``product`` are four hexadecimal digits; None is any. There is an ``address`` or
    a ``devname``. ``tags`` are what Nova keeps of the rest, in the order of the entry: a network
    that is null stays so, and those that are yes or no are 'true' or 'false'. ``text`` is the
    entry as JSON; ``notes`` are warnings that need no device.
    """

    where: str
    text: str
    vendor: str | None
    product: str | None
    address: AddressSpec | None
    devname: str | None
    tags: tuple[tuple[str, str | None], ...]
    notes: tuple[str, ...]

    @property
    def remote_managed(self) -> bool:
        """Whether another host, such as a DPU, programs the device."""
        return (dict(self.tags).get("remote_managed") or "").lower() == "true"

    @property
    def physical_network(self) -> str | None:
        """The network that the device is on; None where it is null or not said."""
        return dict(self.tags).get("physical_network")


def parse(entry: object, where: str, *, placement: bool = False) -> tuple[DeviceSpec, ...]:
    """Read the value of one option: an object or a list of objects, or either as JSON text.

    ``placement`` is Nova's ``[pci] report_in_placement``.
    Raises: Invalid, naming ``where``.
    """
    with checks.about(where):
        value = _json(entry) if isinstance(entry, str) else entry
    found = []
    for number, raw in enumerate(value if isinstance(value, list) else [value], 1):
        place = f"{where}, number {number}" if isinstance(value, list) else where
        with checks.about(place):
            found.append(_spec(raw, place, placement=placement))
    return tuple(found)


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            f"it is not JSON: {error}", hint='like {"address": "0000:03:00.0", "trusted": "true"}'
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f"'{twice}' is given twice", hint="only the last value would count")
    return found


def _spec(raw: object, where: str, *, placement: bool) -> DeviceSpec:
    if not isinstance(raw, dict):
        raise Invalid(f"{raw!r} is not an object", hint='write {"key": "value", ...}')
    _refuse_unknown(raw)
    tags = tuple((key, _TAGS[key](key, raw[key])) for key in raw if key in _TAGS)
    if dict(tags).get("one_time_use") == "true" and not placement:
        raise Invalid(
            "one_time_use needs [pci] report_in_placement",
            hint="set it to true, or leave one_time_use away",
        )
    devname = _devname(raw["devname"], placement=placement) if "devname" in raw else None
    if devname is not None and raw.get("address"):
        raise Invalid("it has both devname and address", hint="leave one of them away")
    if devname is None and _says_nothing(raw):
        raise Invalid(
            "it has no selector, so it would match every PCI device of the host",
            hint=f"give {', '.join(_SELECTORS[:-1])} or {_SELECTORS[-1]};"
            ' where every device is meant, say {"address": "*"}',
        )
    address = address_spec(raw.get("address")) if devname is None else None
    ids = {key: _identifier(key, raw[key]) for key in ("vendor_id", "product_id") if key in raw}
    notes = [
        f"{key} '{raw[key]}' is read as {digits}"
        for key, digits in ids.items()
        if digits is not None and len(raw[key].strip().lower().removeprefix("0x")) < len(digits)
    ]
    return DeviceSpec(
        where=where,
        text=json.dumps(raw),
        vendor=ids.get("vendor_id"),
        product=ids.get("product_id"),
        address=address,
        devname=devname,
        tags=tags,
        notes=(*notes, *_quoted_null(tags), *(address.loose() if address is not None else ())),
    )


def _quoted_null(tags: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    """A warning for a network whose name is a word for no value, as null in quotes is."""
    network = dict(tags).get("physical_network")
    if network is not None and network.strip().lower() in _NO_VALUE:
        yield (
            f'physical_network is the text "{network}": a network of that name;'
            " for tunnelled networks write null without quotes, in TOML an entry that is JSON text"
        )


def _refuse_unknown(raw: dict[Any, Any]) -> None:
    known = [*_SELECTORS, *_TAGS]
    for key in raw:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise Invalid(
                f"unknown key: '{key}'",
                hint=f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}",
            )


def _says_nothing(raw: dict[str, Any]) -> bool:
    address = raw.get("address")
    blank = not address or (isinstance(address, str) and not address.strip())
    # What is empty but of a wrong type is refused as such.
    typed = address is None or isinstance(address, str | dict)
    return blank and typed and "vendor_id" not in raw and "product_id" not in raw


def _identifier(key: str, value: object) -> str | None:
    if not isinstance(value, str):
        raise Invalid(f"{key} {value!r} is not text", hint='write it in quotes, like "15b3"')
    text = value.strip() if key == "vendor_id" else value  # only there Nova does so before "*"
    return None if text == _ANY else hexadecimal(text, key, _HIGHEST_ID, 4)


def _devname(value: object, *, placement: bool) -> str:
    if not isinstance(value, str):
        raise Invalid(f"devname {value!r} is not text", hint='write it in quotes, like "enp3s0f0"')
    checks.ifname(value)
    if placement:
        raise Invalid(
            "devname cannot be used with [pci] report_in_placement",
            hint="give the device's address instead",
        )
    return value


def _text(key: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{key} {value!r} is not text", hint="write it in quotes")
    return value


def _network(key: str, value: object) -> str | None:
    if value == "":
        raise Invalid(
            f"{key} is empty, which no port requests",
            hint="name a network, or write null for tunnelled networks and offload",
        )
    return _text(key, value)


def _word(key: str, value: object) -> str | None:
    # Nova compares the texts, with 'True' and 'False' of its own (nova/pci/utils.py).
    if value is not None and (not isinstance(value, str) or value.lower() not in ("true", "false")):
        raise Invalid(
            f"{key} is {json.dumps(value, default=str)}, which no port requests",
            hint='write "true" or "false", in quotes',
        )
    return value


def _boolean(key: str, value: object) -> str | None:
    if value is None:
        return None
    word = str(value).strip().lower()
    if isinstance(value, str | int) and word in _TRUE + _FALSE:
        return "true" if word in _TRUE else "false"
    raise Invalid(f"{key} {value!r} is not a boolean", hint='write "true" or "false"')


_TAGS: dict[str, Callable[[str, object], str | None]] = {
    "physical_network": _network,
    "trusted": _word,
    "remote_managed": _word,
    "managed": _boolean,
    "live_migratable": _boolean,
    "one_time_use": _boolean,
    "resource_class": _text,
    "traits": _text,
}
"""Every other key that Nova knows, and how its value is read."""
