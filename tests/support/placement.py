"""What tests ask of Placement and of our engine that claims there."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

from smartvif.choose.claims.store import Claim
from smartvif.choose.placement import providers
from smartvif.choose.placement.claims import PlacementClaims
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import select
from smartvif.model import traits
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType
from tests.support.placement_service import Service

DIRECT = traits.vnic_type(VnicType.DIRECT)
OVS, VROUTER = traits.datapath("ovs"), traits.datapath("vrouter")
PF0, PF1 = PciAddress.parse("0000:03:00.0"), PciAddress.parse("0000:81:00.1")
SPEED = 25_000_000


def adapter(url: str, token: str = "admin") -> Adapter:  # noqa: S107
    """A way to a Placement that takes any token for its user's name."""
    return Adapter(Session(auth=Token(url, token)), service_type="placement")


def client(url: str, *, timeout: float = 30.0, **options: Any) -> PlacementClaims:
    """The engine at an address."""
    return PlacementClaims(adapter(url), project="p", user="u", timeout=timeout, **options)


def raw(running: Service, method: str, path: str, body: object = None) -> Any:
    """What Placement says to a request that smartvif does not make."""
    answer = adapter(running.url).request(
        path, method, json=body, microversion="1.39", microversion_service_type="placement"
    )
    return answer.json() if answer.content else None


def pool(host: str, pf: PciAddress = PF0, **changed: Any) -> Pool:
    """Eight VFs in switchdev mode on physnet0."""
    total = changed.get("total", 8)
    default = Pool(
        host=host,
        pf=pf,
        device=DeviceType.VF,
        total=total,
        free=total,
        functions=tuple(replace(pf, slot=1 + n // 8, function=n % 8) for n in range(total)),
        traits=frozenset({traits.SRIOV, traits.SWITCHDEV, DIRECT}),
        physical_network="physnet0",
    )
    return replace(default, **changed)


def wanted(**changed: Any) -> DeviceRequest:
    """What a direct port on physnet0 needs."""
    default = DeviceRequest(
        id=str(uuid.uuid4()),
        device=DeviceType.VF,
        physical_network="physnet0",
        required=frozenset({DIRECT, traits.SWITCHDEV}),
        forbidden=frozenset({traits.REMOTE_MANAGED}),
    )
    return replace(default, **changed)


def claim(engine: PlacementClaims, host: str, *requests: DeviceRequest) -> tuple[Claim, ...]:
    """Choose on a host, and claim."""
    selection = select(engine.pools(requests, host), requests)
    assert selection.problem is None, selection.problem
    return engine.claim(selection.choices)


def free(
    engine: PlacementClaims, host: str, request: DeviceRequest | None = None
) -> dict[str, int]:
    """How many devices of each PF can be had for a request."""
    return {str(each.pf): each.free for each in engine.pools([request or wanted()], host)}


def name(host: str, pf: PciAddress = PF0) -> str:
    """The provider of a PF."""
    return f"{host}_{str(pf).upper()}"


def children(running: Service, host: str) -> dict[str, str]:
    """The providers below a host, by name."""
    [root] = raw(running, "GET", f"/resource_providers?name={host}")["resource_providers"]
    found = raw(running, "GET", f"/resource_providers?in_tree={root['uuid']}")["resource_providers"]
    return {each["name"]: each["uuid"] for each in found if each["name"] != host}


def has_traits(running: Service, provider: str) -> set[str]:
    """The traits of a provider."""
    return set(raw(running, "GET", f"/resource_providers/{provider}/traits")["traits"])


def generations(running: Service, host: str) -> list[int]:
    """How often each provider of a host was changed."""
    root = providers.identity(host)
    found = raw(running, "GET", f"/resource_providers?in_tree={root}")["resource_providers"]
    return [each["generation"] for each in found]
