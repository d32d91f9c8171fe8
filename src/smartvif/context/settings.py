"""The settings of this host.

Read from the TOML file that ``SMARTVIF_CONFIG`` names, else /etc/smartvif/smartvif.toml if it is
there. Every key has a default that fits a host set up by its distribution.
"""

from __future__ import annotations

import json
import os
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartvif.choose.selection.policy import Policy
from smartvif.drivers.forwarder.engine import EngineOptions
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.switches import registry
from smartvif.switches.registry import Backend

if TYPE_CHECKING:
    from smartvif.choose.allow_list.spec import DeviceSpec

DEFAULT_FILE = Path("/etc/smartvif/smartvif.toml")

# By the type of a key's default: the types that are accepted, and their name for people.
_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "string"),
    float: ((int, float), "number"),
    tuple: ((list,), "list"),
}
_LONGEST = 3600  # seconds; the system's own limit is above it


def _state_directory() -> str:
    if os.geteuid() == 0:
        return "/var/lib/smartvif"
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return f"{home}/smartvif"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtSettings:
    """``uri`` as virsh takes it."""

    uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderSettings:
    """The forwarder's engine, and the directory of the guests' ``sockets``.

    ``engine`` is its name; empty: the one that the keys after it are for, if any. These are what an
    engine is opened with.
    """

    engine: str = ""
    database: str = ""
    netns: str = ""
    daemon: str = ""
    timeout: float = 10.0
    sockets: str = "/run/smartvif/vhostuser"

    @property
    def options(self) -> EngineOptions:
        """What the engine is opened with."""
        return EngineOptions(
            engine=self.engine,
            database=self.database,
            netns=self.netns,
            daemon=self.daemon,
            timeout=self.timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationSettings:
    """How other hosts are reached; ``{host}`` stands for the name of one.

    ``remote`` are the words before a command that is to run there; ``libvirt`` is its libvirt.
    ``address`` is where QEMU listens on this host for a machine's memory; empty: libvirt chooses.
    """

    remote: str = "ssh {host}"
    libvirt: str = "qemu+ssh://{host}/system"
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PciSettings:
    """The PCI devices that guests may get, as in Nova; empty: every VF.

    ``policy`` is the order of PFs: ``selection.policy.Policy``.
    """

    device_spec: tuple[DeviceSpec, ...] = ()
    policy: str = Policy.SPREAD.value


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementSettings:
    """OpenStack's Placement, where VFs are claimed as well; empty ``endpoint``: only here.

    ``host`` is this host's name there; empty: its host name. ``config`` is Placement's own file,
    where it can be read from here. Without ``auth_url`` requests are not authenticated.
    """

    endpoint: str = ""
    host: str = ""
    config: str = ""
    auth_url: str = ""
    username: str = ""
    password: str = ""
    project: str = ""
    domain: str = "Default"
    timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """The directory of the journal."""

    directory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All sections.

    ``switches`` are the settings of each switch, by its name: of ours always, of one of another
    package where its section is there.
    """

    switches: Mapping[str, object]
    libvirt: LibvirtSettings
    forwarder: ForwarderSettings
    migration: MigrationSettings
    pci: PciSettings
    placement: PlacementSettings
    state: StateSettings


SECTIONS: Mapping[str, type] = {
    "libvirt": LibvirtSettings,
    "forwarder": ForwarderSettings,
    "migration": MigrationSettings,
    "pci": PciSettings,
    "placement": PlacementSettings,
    "state": StateSettings,
}
"""The sections beside those of switches."""


def load() -> Settings:
    """The settings in force.

    Raises: Invalid, naming the file and the key.
    """
    named = os.environ.get("SMARTVIF_CONFIG")
    path = Path(named) if named else DEFAULT_FILE
    tables: dict[str, Any] = {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not TOML, or not even text
        if named or not isinstance(error, FileNotFoundError):
            raise Invalid(
                f"cannot read the configuration: {error}",
                where=str(path),
                hint="it is a TOML file; SMARTVIF_CONFIG can name another",
            ) from error
    switches = _switches(tables)
    known = {*SECTIONS, *(row.access.section for row in switches if row.access is not None)}
    _refuse_unknown(tables, known, path, "section")
    values: dict[str, Any] = {
        name: _section(kind, tables.get(name, {}), path, name) for name, kind in SECTIONS.items()
    }
    values["switches"] = {
        row.name: _section(access.settings, tables.get(access.section, {}), path, access.section)
        for row in switches
        if (access := row.access) is not None
    }
    if not values["libvirt"].uri:
        uri = os.environ.get("LIBVIRT_DEFAULT_URI") or "qemu:///system"
        values["libvirt"] = LibvirtSettings(uri=uri)
    values["pci"] = _pci(values["pci"], path)
    _check_sockets(values["forwarder"].sockets, path)
    state = os.environ.get("SMARTVIF_STATE_DIR") or values["state"].directory
    values["state"] = StateSettings(directory=state or _state_directory())
    return Settings(**values)


def _switches(tables: Mapping[str, object]) -> list[Backend]:
    """Ours, and those of other packages that have a section: all that this host is to use."""
    named = (registry.of_section(section) for section in tables.keys() - SECTIONS.keys())
    found = {row.name: row for row in named if row is not None}
    return list({**registry.OURS, **found}.values())


def _section(kind: Any, table: Any, path: Path, name: str) -> Any:
    if not isinstance(table, dict):
        raise Invalid(f"'{name}' must be a section", where=str(path), hint=f"write [{name}]")
    defaults = {field.name: field.default for field in fields(kind)}
    _refuse_unknown(table, set(defaults), path, f"key in [{name}]")
    for key, value in table.items():
        accepted, word = _TYPES[type(defaults[key])]
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise Invalid(
                f"{key} in [{name}] must be a {word}",
                where=str(path),
                hint=f"its default is: {key} = {json.dumps(defaults[key])}",
            )
        if isinstance(value, int | float) and not 0 < value <= _LONGEST:
            raise Invalid(
                f"{key} in [{name}] is a time that cannot be waited: {value}",
                where=str(path),
                hint=f"it goes from more than 0 to {_LONGEST} seconds",
            )
    return kind(**table)


def _check_sockets(directory: str, path: Path) -> None:
    """Check that the directory can have the socket of a port, whose name is the port's."""
    try:
        checks.socket_path(directory and f"{directory}/{uuid.UUID(int=0)}.sock")
    except Invalid as error:
        raise Invalid(
            f"sockets in [forwarder] cannot have a port's socket: {error.what}",
            where=str(path),
            hint="it is an absolute path of at most 65 bytes",
        ) from error


def _pci(settings: PciSettings, path: Path) -> PciSettings:
    if settings.policy not in list(Policy):
        raise Invalid(
            f"policy in [pci] is '{settings.policy}'",
            where=str(path),
            hint=f"known: {', '.join(Policy)}",
        )
    if not settings.device_spec:
        return settings
    return replace(settings, device_spec=_device_specs(settings.device_spec, path))


def _device_specs(entries: Sequence[object], path: Path) -> tuple[DeviceSpec, ...]:
    """Each entry is a table, or JSON as in nova.conf: TOML cannot say null."""
    from smartvif.choose.allow_list.spec import parse

    try:
        read = [parse(each, f"[pci] device_spec {n}") for n, each in enumerate(entries, 1)]
    except Invalid as error:
        raise Invalid(error.what, where=f"{path}, {error.where}", hint=error.hint) from error
    return tuple(chain.from_iterable(read))


def _refuse_unknown(table: dict[str, Any], known: set[str], path: Path, what: str) -> None:
    for key in table.keys() - known:
        raise Invalid(
            f"unknown {what}: '{key}'", where=str(path), hint=f"known: {', '.join(sorted(known))}"
        )
