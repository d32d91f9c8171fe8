"""The host that the chain works on: every driver, opened when first used."""

from __future__ import annotations

import socket
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from smartvif.choose.claims.mirrored import MirroredClaims
from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import ClaimStore as ClaimEngine
from smartvif.context.settings import Settings
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import ForwarderEngine
from smartvif.drivers.forwarder.ovs_dpdk import OvsDpdkEngine
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.drivers.vrouter.agent import VRouterAgent
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.guest.domains import Domains
from smartvif.host.representors import Representors
from smartvif.model.errors import CannotTell
from smartvif.plug.journal import Journal

if TYPE_CHECKING:
    from smartvif.choose.placement.claims import PlacementClaims


class HostContext:
    """This host, as ``settings`` say where its parts are."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        """What this host is called where several are."""
        return self.settings.placement.host or socket.gethostname()

    @cached_property
    def representors(self) -> Representors:
        """The index of representors."""
        return Representors()

    @cached_property
    def domains(self) -> Domains:
        """The virtual machines."""
        return Domains(self.settings.libvirt.uri)

    @cached_property
    def journal(self) -> Journal:
        """The record of ports."""
        return Journal(Path(self.settings.state.directory))

    @cached_property
    def claims(self) -> SqliteClaims:
        """Whose the VFs of this host are."""
        return SqliteClaims(Path(self.settings.state.directory) / "claims.db")

    @cached_property
    def engine(self) -> ClaimEngine:
        """Where claims are made: here, and where it is configured in Placement as well."""
        return (
            self.claims if self.placement is None else MirroredClaims(self.claims, self.placement)
        )

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
            here=self.name,
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
                hint="say its endpoint in [placement] of smartvif.toml",
            )
        return self.placement

    @cached_property
    def drivers(self) -> Drivers:
        """What a plan's steps act on."""
        return Drivers(
            links=Links(),
            ovs=self._open_vswitch(self.settings.openvswitch.database),
            vrouter=self._vrouter(),
            forwarder=self._forwarder(),
            guests=self.domains,
        )

    def _vrouter(self) -> VRouterAgent:
        settings = self.settings.vrouter
        files = PortFiles(Path(settings.ports))
        return VRouterAgent(settings.agent, files, timeout=settings.timeout)

    def _forwarder(self) -> ForwarderEngine | None:
        settings = self.settings.forwarder
        if settings.daemon:
            from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
            from smartvif.drivers.forwarder.virtio_forwarder.engine import VirtioForwarderEngine

            return VirtioForwarderEngine(VirtioForwarder(Path(settings.daemon)))
        if not (settings.database and settings.netns):
            return None
        return OvsDpdkEngine(self._open_vswitch(settings.database), netns=settings.netns)

    def _open_vswitch(self, address: str) -> OpenVSwitch:
        return OpenVSwitch(Ovsdb(address), timeout=self.settings.openvswitch.timeout)
