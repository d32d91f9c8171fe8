"""A third forwarder engine, as another package has it: OVS-DPDK, with a list of what it was told.

This file and an entry point are all that there is of it; no line of smartvif's own knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from smartvif.drivers.forwarder.engine import EngineOptions, NamespaceLinks, RelaySpec
from smartvif.drivers.forwarder.ovs_dpdk import OvsDpdkEngine
from smartvif.drivers.kernel.api import LinkDriver
from smartvif.model.errors import Invalid


class ToyEngine(OvsDpdkEngine):
    """One file for each relay, called after its port, in the directory that ``daemon`` names."""

    directory: Path

    @classmethod
    def open(
        cls, options: EngineOptions, inside: Callable[[], NamespaceLinks] | None = None
    ) -> ToyEngine:
        """Raises: Invalid, where the options do not name the directory too."""
        if not options.daemon:
            raise Invalid("the toy needs a directory", where="forwarder", hint="set 'daemon'")
        below = OvsDpdkEngine.open(replace(options, engine=""), inside)
        made = cls(below.ovs, netns=below.netns, inside=inside)
        made.directory = Path(options.daemon)
        return made

    def add(self, spec: RelaySpec, links: LinkDriver) -> None:
        """Make the relay."""
        super().add(spec, links)
        (self.directory / spec.port_id).write_text(spec.socket)

    def remove(self, spec: RelaySpec) -> None:
        """Take the relay away."""
        super().remove(spec)
        (self.directory / spec.port_id).unlink(missing_ok=True)

    def matches(self, spec: RelaySpec) -> bool:
        """Whether the relay is there, and on the list."""
        return super().matches(spec) and (self.directory / spec.port_id).exists()
