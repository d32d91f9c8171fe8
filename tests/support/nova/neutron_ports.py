"""Neutron's ports, as Nova's own code makes requests for PCI devices of them, and as ours does.

Nova's real ``API.create_resource_requests`` runs, with the real client of Neutron below it. What is
stood in for is HTTP: Neutron answers with the fields that are asked for, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from nova import context, objects
from nova.network import neutron

from smartvif.model.choices import NumaPolicy
from smartvif.model.needs import Needs
from smartvif.model.port import Network, Port, VnicType

PORT_ID = "0d9a1b2c-3e4f-4a5b-8c6d-7e8f90a1b2c3"
NETWORK_ID = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"


def segment(kind: str, physical_network: str | None = None) -> dict[str, str | None]:
    """One segment as Neutron shows it."""
    return {"provider:network_type": kind, "provider:physical_network": physical_network}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A port and its network as Neutron has them. ``trusted`` None is a profile without it.

    ``segments`` of more than one are of a network with several providers. ``policy`` is the
    port's NUMA policy, ``flavor`` the one that the flavor or the image says.
    """

    vnic_type: VnicType = VnicType.DIRECT
    segments: tuple[dict[str, str | None], ...] = (segment("vxlan"),)
    trusted: Any = None
    attribute: bool | None = None
    policy: NumaPolicy | None = None
    flavor: NumaPolicy | None = None

    def port(self) -> Port:
        """What we are asked."""
        words = str(self.trusted).lower()
        named = [each["provider:physical_network"] for each in self.segments]
        return Port(
            id=PORT_ID,
            mac="52:54:00:12:34:56",
            network=Network(id=NETWORK_ID, physical_network=next(filter(None, named), None)),
            vnic_type=self.vnic_type,
            needs=Needs(
                trusted=bool(self.attribute) or words in ("true", "yes", "1", "on"),
                numa=self.policy or self.flavor or NumaPolicy.PREFERRED,
            ),
        )

    def resources(self) -> dict[str, dict[str, Any]]:
        """What Neutron has."""
        profile = {} if self.trusted is None else {"trusted": self.trusted}
        several = len(self.segments) > 1
        return {
            "port": {
                "id": PORT_ID,
                "network_id": NETWORK_ID,
                "binding:vnic_type": self.vnic_type.value,
                "binding:profile": profile,
                "trusted": self.attribute,
                "numa_affinity_policy": self.policy and self.policy.value,
            },
            "network": {"id": NETWORK_ID}
            | ({"segments": list(self.segments)} if several else self.segments[0]),
        }


class Http(neutron.clientv20.Client):  # type: ignore[misc]
    """Neutron's client, and what comes back to it."""

    def __init__(self) -> None:
        super().__init__(auth_strategy="noauth", endpoint_url="http://neutron.invalid")
        self.resources: dict[str, dict[str, Any]] = {}

    def do_request(
        self,
        method: str,
        action: str,
        body: Any = None,
        headers: Any = None,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Answer as Neutron does."""
        assert method == "GET"
        if action == "/extensions":
            return {"extensions": [{"alias": "multi-provider"}]}
        kind = action.split("/")[1].removesuffix("s")
        fields = (params or {}).get("fields", ())
        wanted = [fields] if isinstance(fields, str) else fields
        found = self.resources[kind]
        return {kind: {key: value for key, value in found.items() if key in wanted}}


_HTTP = Http()


@contextmanager
def neutron_stood_in() -> Iterator[None]:
    """Nova as it starts, and its client of Neutron."""
    objects.register_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neutron, "get_client", lambda *_, **__: neutron.ClientWrapper(_HTTP, True))
        yield


def nova_requests(case: Case) -> list[Any]:
    """What Nova asks its PCI tracker for: a list of none or one.

    Raises: what Nova does.
    """
    _HTTP.resources = case.resources()
    found = objects.InstancePCIRequests(requests=[])
    networks = objects.NetworkRequestList(objects=[objects.NetworkRequest(port_id=PORT_ID)])
    neutron.API().create_resource_requests(
        context.get_admin_context(), networks, found, affinity_policy=case.flavor
    )
    return list(found.requests)
