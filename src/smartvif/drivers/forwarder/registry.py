"""The registry of forwarder engines: ours, then those of other packages, by entry points.

An entry point in the group ``smartvif.forwarders`` has the engine's name and leads to
its class, which is a ``ForwarderEngine`` with one more method, ``open``. Modules of engines are
imported only where one of them is used, and packages are searched only for a name that is not ours.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from smartvif.drivers.forwarder.engine import EngineOptions, ForwarderEngine, NamespaceLinks
from smartvif.model.errors import CannotTell, Invalid

GROUP = "smartvif.forwarders"

_OURS = {
    "ovs-dpdk": "smartvif.drivers.forwarder.ovs_dpdk:OvsDpdkEngine",
    "virtio-forwarder": "smartvif.drivers.forwarder.virtio_forwarder.engine:VirtioForwarderEngine",
}


class EngineClass(Protocol):
    """What an entry point leads to: the class of an engine."""

    def open(
        self, options: EngineOptions, inside: Callable[[], NamespaceLinks] | None = None, /
    ) -> ForwarderEngine:
        """An engine with these options; it is not contacted yet.

        ``inside`` opens the links of the engine's network namespace, for an engine that has one and
        is used by a service that may not enter it.
        Raises: Invalid, where an option is missing.
        """


def engine_name(options: EngineOptions) -> str | None:
    """The engine's name: as set, else the one that the other options are for, else None."""
    if options.engine:
        return options.engine
    if options.daemon:
        return "virtio-forwarder"
    return "ovs-dpdk" if options.database and options.netns else None


def open_engine(
    options: EngineOptions, inside: Callable[[], NamespaceLinks] | None = None
) -> ForwarderEngine | None:
    """The engine that the options choose; None where they choose none.

    Raises: Invalid, for an engine that is not there, or that lacks an option; CannotTell, for one
    that cannot be loaded.
    """
    name = engine_name(options)
    return None if name is None else _engine(name).open(options, inside)


def _engine(name: str) -> EngineClass:
    if name in _OURS:
        module, _, attribute = _OURS[name].partition(":")
        ours: EngineClass = getattr(import_module(module), attribute)
        return ours
    from importlib.metadata import entry_points

    found = [entry for entry in entry_points(group=GROUP) if entry.name not in _OURS]
    named = [entry for entry in found if entry.name == name]
    if not named:
        raise Invalid(
            f"'{name}' is not one of the engines that are installed",
            where="forwarder",
            hint=f"there are: {', '.join(sorted({*_OURS, *(entry.name for entry in found)}))}",
        )
    if len(named) > 1:
        raise Invalid(
            f"several packages have an engine '{name}': {', '.join(map(_package, named))}",
            where="forwarder",
            hint="uninstall all but one of them",
        )
    try:
        engine: EngineClass = named[0].load()
    except Exception as error:  # a foreign module may raise whatever there is
        raise CannotTell(
            f"the engine '{name}' of {_package(named[0])} cannot be loaded: {error!r}",
            where="forwarder",
            hint="install the package again, or choose another engine",
        ) from error
    return engine


def _package(entry: Any) -> str:
    return "an unknown package" if entry.dist is None else str(entry.dist.name)
