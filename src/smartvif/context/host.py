"""The host that operations work on: every driver, opened when first used."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartvif.context.settings import Settings
from smartvif.drivers.drivers import Drivers, SwitchDriver
from smartvif.drivers.forwarder.registry import open_engine
from smartvif.drivers.kernel.links import Links
from smartvif.guest.domains import Domains
from smartvif.model.errors import CannotTell, Invalid
from smartvif.plug.journal import Journal
from smartvif.switches import registry
from smartvif.switches.backend import Access
from smartvif.switches.registry import Backend

if TYPE_CHECKING:
    from smartvif.choose.claims.sqlite import SqliteClaims
    from smartvif.choose.claims.store import ClaimStore
    from smartvif.choose.placement.claims import PlacementClaims


class HostContext:
    """This host, as ``settings`` say where its parts are."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        """The name of this host among several."""
        return self.settings.placement.host or socket.gethostname()

    @cached_property
    def domains(self) -> Domains:
        """The virtual machines."""
        return Domains(self.settings.libvirt.uri)

    @cached_property
    def journal(self) -> Journal:
        """The journal of ports."""
        return Journal(Path(self.settings.state.directory))

    @cached_property
    def claims(self) -> SqliteClaims:
        """The claims on devices of this host."""
        from smartvif.choose.claims.sqlite import SqliteClaims

        return SqliteClaims(Path(self.settings.state.directory) / "claims.db")

    @cached_property
    def engine(self) -> ClaimStore:
        """Where claims are made: here, and where it is configured in Placement as well."""
        if self.placement is None:
            return self.claims
        from smartvif.choose.claims.mirrored import MirroredClaims

        return MirroredClaims(self.claims, self.placement)

    @cached_property
    def placement(self) -> PlacementClaims | None:
        """OpenStack's Placement; None where none is configured."""
        settings = self.settings.placement
        if not settings.endpoint:
            return None
        from smartvif.choose.placement.claims import PlacementClaims
        from smartvif.choose.placement.session import adapter

        return PlacementClaims(
            adapter(
                settings.endpoint,
                auth_url=settings.auth_url,
                username=settings.username,
                password=settings.password,
                project=settings.project,
                domain=settings.domain,
            ),
            project=settings.project or "smartvif",
            user=settings.username or "smartvif",
            local_host=self.name,
            config=Path(settings.config) if settings.config else None,
            timeout=settings.timeout,
        )

    def need_placement(self) -> PlacementClaims:
        """OpenStack's Placement.

        Raises: CannotTell, where none is configured.
        """
        if self.placement is None:
            raise CannotTell(
                "none is configured",
                where="Placement",
                hint="set its endpoint in [placement] of smartvif.toml",
            )
        return self.placement

    def access(self, row: Backend) -> Access[Any, Any]:
        """How ports are given to a switch of this host.

        Raises: Invalid, for one that no command gives ports to; CannotTell, where this host's
        configuration does not have it.
        """
        if row.access is None:
            raise Invalid(
                f"{row.title} is given ports by a controller only",
                where="--switch",
                hint=f"there are: {', '.join(self.settings.switches)}",
            )
        if row.name not in self.settings.switches:
            raise CannotTell(
                f"no '{row.name}' is configured",
                where="--switch",
                hint=f"add [{row.access.section}] to smartvif.toml, if only empty",
            )
        return row.access

    @cached_property
    def drivers(self) -> Drivers:
        """What a plan's steps act on."""
        return Drivers(
            links=Links(),
            switches=self._switches(),
            forwarder=open_engine(self.settings.forwarder.options),
            guests=self.domains,
        )

    def _switches(self) -> Mapping[str, SwitchDriver]:
        """The driver of each switch that is configured, by the switch's name."""
        return {
            name: access.open(settings)
            for name, settings in self.settings.switches.items()
            if (access := registry.switch(name).access) is not None
        }
