"""The ``address`` of a device_spec: a glob for each part, or a regular expression. Pure."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress

# The largest value and the digits of each part, as Nova's manual has them for [pci] device_spec.
_LIMITS = {"domain": (0xFFFF, 4), "bus": (0xFF, 2), "slot": (0x1F, 2), "function": (0x7, 1)}
_ANY = "*"
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)", re.ASCII)
_GLOB_HINT = 'write [[[domain:]bus:]slot][.function], each part a number or "*"'
_REGEX_HINT = "the parts are domain, bus, slot and function, each a regular expression in quotes"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSpec:
    """What the four parts of an address must be: digits, ``*``, or regular expressions."""

    parts: tuple[str, str, str, str]
    regex: bool

    @property
    def single(self) -> str | None:
        """The one address that it selects, where every part is all digits; else None.

        Nova takes such an address for a PF's if there is a PF at it, in either form.
        """
        if not all(set(part) <= set(string.hexdigits) for part in self.parts):
            return None
        domain, bus, slot, function = self.parts
        return f"{domain}:{bus}:{slot}.{function}"

    def difference(self, address: PciAddress) -> str | None:
        """The part in which the address differs, in words; None where it matches.

        A regular expression has to match the beginning of a part (nova/pci/devspec.py).
        """
        for name, part, text in zip(_LIMITS, self.parts, _texts(address), strict=True):
            if self.regex and not re.match(part, text):
                return f"its {name} {text} does not match '{part}'"
            if not self.regex and part not in (_ANY, text):
                return f"its {name} is {text}, not {part}"
        return None

    def loose(self) -> tuple[str, ...]:
        """A warning for each part whose expression also matches longer values (prefix match)."""
        if not self.regex:
            return ()
        named = zip(_LIMITS, self.parts, strict=True)
        found = ((name, part, _only_by_prefix(name, part)) for name, part in named)
        return tuple(
            f"'{part}' for the {name} also matches {example}, which only begins like that;"
            f" for all of it write '{f'(?:{part})' if '|' in part else part}$'"
            for name, part, example in found
            if example is not None
        )


def address_spec(value: Any) -> AddressSpec:
    """Read the value of ``address``; one that is empty means every address.

    Raises: Invalid.
    """
    if value is None or value == {}:
        value = ""
    if isinstance(value, str):
        return AddressSpec(parts=_glob(value), regex=False)
    if isinstance(value, dict):
        return AddressSpec(parts=_regexes(value), regex=True)
    raise Invalid(f"address {value!r} is neither text nor an object", hint=_GLOB_HINT)


def exactly(address: PciAddress) -> AddressSpec:
    """The specification of exactly this address."""
    return AddressSpec(parts=_texts(address), regex=False)


def hexadecimal(text: str, name: str, limit: int, digits: int) -> str:
    """A number as its digits in lower case.

    Raises: Invalid.
    """
    match = _HEX.fullmatch(text.strip())
    if match is None:
        raise Invalid(f"{name} '{text}' is not a hexadecimal number", hint='like "0a", or "*"')
    if int(match[1], 16) > limit:
        raise Invalid(f"{name} '{text}' is too large", hint=f"it goes up to {limit:x}")
    return f"{int(match[1], 16):0{digits}x}"


def _glob(text: str) -> tuple[str, str, str, str]:
    before, _, function = text.partition(".")
    fields = [field.strip() or _ANY for field in before.split(":")]
    if len(fields) > 3:
        raise Invalid(f"address '{text}' has too many parts", hint=_GLOB_HINT)
    # Parts are omitted from the front: "0a:00" is a bus and a slot.
    domain, bus, slot = [_ANY] * (3 - len(fields)) + fields
    try:
        return (
            _glob_part("domain", domain),
            _glob_part("bus", bus),
            _glob_part("slot", slot),
            _glob_part("function", function.strip() if function else _ANY),
        )
    except Invalid as error:
        raise Invalid(f"address '{text}': {error.what}", hint=_GLOB_HINT) from error


def _glob_part(name: str, text: str) -> str:
    limit, digits = _LIMITS[name]
    return text if text == _ANY else hexadecimal(text, name, limit, digits)


def _regexes(parts: dict[str, Any]) -> tuple[str, str, str, str]:
    for name, part in parts.items():
        if name not in _LIMITS:
            raise Invalid(f"an address has no part '{name}'", hint=_REGEX_HINT)
        if not isinstance(part, str):
            raise Invalid(f"{name} {part!r} in address is not text", hint=_REGEX_HINT)
        try:
            re.compile(part)
        except (re.error, OverflowError, RecursionError) as error:
            raise Invalid(
                f"{name} '{part}' in address is not a regular expression: {error}",
                hint='any is ".*"',
            ) from error
    domain, bus, slot, function = (parts.get(name, ".*") for name in _LIMITS)
    return domain, bus, slot, function


@lru_cache(maxsize=64)
def _only_by_prefix(name: str, expression: str) -> str | None:
    """The first value that matches as a prefix and not as a whole; None where there is none."""
    limit, digits = _LIMITS[name]
    compiled = re.compile(expression)
    values = (f"{value:0{digits}x}" for value in range(limit + 1))
    return next(
        (each for each in values if compiled.match(each) and not compiled.fullmatch(each)), None
    )


def _texts(address: PciAddress) -> tuple[str, str, str, str]:
    return (
        f"{address.domain:04x}",
        f"{address.bus:02x}",
        f"{address.slot:02x}",
        f"{address.function:x}",
    )
