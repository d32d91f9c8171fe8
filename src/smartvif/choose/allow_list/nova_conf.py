"""The PCI options of a nova.conf. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from smartvif.choose.allow_list import oslo_ini
from smartvif.choose.allow_list.oslo_ini import IniOption
from smartvif.model.errors import Invalid

# Deprecated names precede new ones, wherever they stand (oslo_config/cfg.py, _get_file_value).
_NAMES = (
    ("DEFAULT", "pci_passthrough_whitelist"),
    ("pci", "passthrough_whitelist"),
    ("pci", "device_spec"),
)
_PLACEMENT = ("pci", "report_in_placement")
# oslo.config, types.Boolean.
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaPci:
    """``[pci]``: the allow-list in Nova's order of evaluation, and ``report_in_placement``."""

    entries: tuple[IniOption, ...]
    report_in_placement: bool


def read(text: str) -> NovaPci:
    """Read the text of a configuration file.

    Raises: Invalid, naming the line.
    """
    options = list(oslo_ini.options(text))
    entries = tuple(
        IniOption(line=entry.line, text=oslo_ini.plain(entry))
        for wanted in _NAMES
        for name, entry in options
        if name == wanted
    )
    placement = [entry for name, entry in options if name == _PLACEMENT]
    return NovaPci(
        entries=entries,
        report_in_placement=bool(placement) and _boolean(placement[-1]),
    )


def _boolean(entry: IniOption) -> bool:
    word = entry.text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise Invalid(
            f"report_in_placement '{entry.text}' is neither true nor false",
            where=f"line {entry.line}",
            hint="write true or false",
        )
    return word in _TRUE
