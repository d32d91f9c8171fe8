"""Claims across hosts in OpenStack's Placement: the PF of a host from which a port has a device.

Placement counts devices; it knows neither which function it is nor that a whole PF excludes its
VFs. The host's own store knows both and decides. Pools that are read here respect the exclusion, so
only claims made at the same moment can be sent to a host that then refuses.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from smartvif.choose.claims.store import Claim, ClaimState
from smartvif.choose.placement import candidates as placement_candidates
from smartvif.choose.placement import probe as placement_probe
from smartvif.choose.placement import providers as placement_provider
from smartvif.choose.placement import publish as placement_publish
from smartvif.choose.placement.client import CONCURRENT, Call, PlacementResponse, refuse
from smartvif.choose.placement.providers import BANDWIDTH, CLASSES, Place
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest
from smartvif.model.errors import Conflict, NotFound, Refused

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter

CONSUMER_TYPE = "SMARTVIF_PORT"
# A provider of storage for several hosts, which is no host itself (os-traits).
_SHARED = "MISC_SHARES_VIA_AGGREGATE"
# Placement's words where only the consumer's generation is stale (placement/handlers/util.py).
_OWN = "consumer generation conflict"


class PlacementClaims:
    """The Placement that ``adapter`` reaches, which must be for service_type placement.

    ``project`` and ``user`` own the claims. ``local_host`` is the only host whose claims are
    released; None for any host. ``config`` is Placement's own configuration file, where it can be
    read here. ``timeout`` is in seconds, for one call with all of its requests.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        project: str,
        user: str,
        local_host: str | None = None,
        config: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._adapter = adapter
        self._project = project
        self._user = user
        self._local_host = local_host
        self._config = config
        self._timeout = timeout
        self._providers: dict[Hashable, str] = {}  # of the pools that were shown

    def check(self) -> None:
        """Check that this Placement cannot allocate one device to two ports.

        Raises: Refused, where it can; CannotTell, where that cannot be determined.
        """
        if self._config is not None:
            placement_probe.check_config(self._config)
        else:
            placement_probe.probe(self._call)

    def publish(self, host: str, traits: frozenset[str], pools: Sequence[Pool]) -> tuple[str, ...]:
        """Publish what a host has; returns notes, such as of a PF that is gone and in use.

        ``pools`` are as if nothing of them were claimed.

        Raises: Refused, where a provider of that name is not ours; Conflict; Invalid; CannotTell;
        Failed.
        """
        return placement_publish.publish(self._call(), host, traits, pools)

    def hosts(self, asked: frozenset[str] = frozenset()) -> dict[str, frozenset[str]]:
        """All hosts, with or without a SmartNIC, and those of the traits that each has itself.

        Raises: CannotTell; Failed.
        """
        call = self._call()
        known = call.known_traits({*asked, _SHARED})
        having = {name: call.providers(required=name) for name in sorted(known)}
        shared = {each.uuid for each in having.pop(_SHARED, ())}
        found = {
            each.uuid: each.name
            for each in call.providers()
            if each.parent is None
            and each.uuid not in shared
            and not placement_probe.is_scratch(each.name)
        }
        with_it = {trait: {each.uuid for each in providers} for trait, providers in having.items()}
        return {
            name: frozenset(trait for trait, uuids in with_it.items() if uuid in uuids)
            for uuid, name in found.items()
        }

    def pools(self, requests: Sequence[DeviceRequest], host: str | None = None) -> tuple[Pool, ...]:
        """The pools of hosts that have a device for each request; none where no host has.

        Raises: NotFound, where Placement does not know the host; CannotTell; Failed.
        """
        wanted = [request for request in requests if request.device is not None]
        if not wanted:
            return ()
        call = self._call()
        tree = () if host is None else call.tree(host)
        if host is not None and not tree:
            raise NotFound(
                f"Placement knows no host '{host}'", where="Placement", hint="publish it first"
            )
        shown = placement_candidates.candidates(call, wanted, tree)
        self._providers |= {_key(pool): uuid for uuid, pool in shown.items()}
        return placement_candidates.exclusive(shown.values())

    def claim(self, choices: Sequence[Choice]) -> tuple[Claim, ...]:
        """Allocate what was chosen to the ports, all in one transaction.

        Earlier allocations of a port are replaced in the same one; where they are what was chosen,
        as after a crash, nothing changes.
        Raises: Conflict, where another claim came first: choose again; Refused, where the
        consumer of the identifier is no port of ours; CannotTell; Failed.
        """
        if not choices:
            return ()
        call = self._call()
        wanted = {
            choice.request.id: {
                self._provider(call, choice.pool): placement_provider.resources(choice.request)
            }
            for choice in choices
        }
        # No query whether the ports have allocations: they seldom do, and the refusal would say so.
        held: dict[str, _Held] = {owner: _Held() for owner in wanted}
        for number in call.tries():
            answer = self._allocate(call, wanted, held)
            if answer.ok:
                break
            if _OWN in answer.words:
                held = {owner: _held(call, owner) for owner in wanted}
                if {owner: each.resources for owner, each in held.items()} == wanted:
                    break
                # A consumer without allocations, left by a Placement that was killed, is not shown.
                empty = _Held(generation=0 if number % 2 else None)
                held = {owner: each if each.resources else empty for owner, each in held.items()}
        else:
            raise Conflict(
                f"concurrent claims changed it for {self._timeout:g} s",
                where="Placement",
                hint="try again",
            )
        return tuple(_claim(choice) for choice in choices)

    def release(self, owner: str) -> None:
        """Release what a port has; nothing, if it has nothing or has moved to another host.

        Raises: Refused, where the consumer of the identifier is no port of ours; CannotTell;
        Failed.
        """
        call = self._call()
        held = set(_held(call, owner).resources)
        if held and self._local_host is not None:
            held &= {provider.uuid for provider in call.tree(self._local_host)}
        if held:
            call.request("DELETE", f"/allocations/{owner}", accept=[HTTPStatus.NOT_FOUND])

    def claims(self, host: str) -> tuple[Claim, ...]:
        """The ports' claims on a host's devices, by owner; only the host knows their state.

        Those of other consumers, such as Nova's instances, are left out.

        Raises: CannotTell; Failed.
        """
        call = self._call()
        found = []
        for uuid, place in placement_provider.places(call.tree(host)).items():
            path = f"/resource_providers/{uuid}/allocations"
            for owner, entry in call.get(path, "allocations").items():
                if CLASSES[place.device] in entry["resources"] and _is_port(call, owner):
                    found.append(
                        Claim(
                            owner=owner,
                            host=host,
                            pf=place.pf,
                            device=place.device,
                            address=None,
                            state=ClaimState.CLAIMED,
                            rate=entry["resources"].get(BANDWIDTH, 0),
                        )
                    )
        return tuple(sorted(found, key=lambda claim: claim.owner))

    def _call(self) -> Call:
        return Call(self._adapter, self._timeout)

    def _provider(self, call: Call, pool: Pool) -> str:
        """The provider of a pool, where need be by its traits."""
        shown = self._providers.get(_key(pool))
        if shown is not None:
            return shown
        here = Place(host=pool.host, pf=pool.pf, device=pool.device)
        found = [
            uuid
            for uuid, place in placement_provider.places(call.tree(pool.host)).items()
            if place == here
        ]
        wanted = placement_provider.pool_traits(pool)
        for uuid in found:
            has = call.get(f"/resource_providers/{uuid}/traits", "traits")
            if len(found) == 1 or wanted == frozenset(has):
                return uuid
        raise _gone(f"{pool.device} of {pool.pf} on {pool.host}")

    def _allocate(
        self, call: Call, wanted: Mapping[str, _Resources], held: Mapping[str, _Held]
    ) -> PlacementResponse:
        """Send all allocations; returns a refusal only where a retry can succeed."""
        body = {
            owner: {
                "allocations": {uuid: {"resources": each} for uuid, each in resources.items()},
                "consumer_generation": held[owner].generation,
                "consumer_type": CONSUMER_TYPE,
                "project_id": self._project,
                "user_id": self._user,
            }
            for owner, resources in wanted.items()
        }
        accept = [HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST]
        answer = call.request("POST", "/allocations", body, accept=accept)
        if answer.ok or answer.code == CONCURRENT:
            return answer
        self._providers.clear()  # they have changed, or are gone
        for resources in wanted.values():
            for uuid in resources:
                path = f"/resource_providers/{uuid}"
                if not call.request("GET", path, accept=[HTTPStatus.NOT_FOUND]).ok:
                    raise _gone(f"the resource provider {uuid}")
        refuse(answer)


_Resources = dict[str, dict[str, int]]  # by provider and class


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What a port has. ``generation`` is None where Placement has no such consumer."""

    resources: _Resources = field(default_factory=dict)
    generation: int | None = None


def _held(call: Call, owner: str) -> _Held:
    """The port's allocations. Raises: Refused, where they are not ours to change."""
    found = call.request("GET", f"/allocations/{owner}").body
    if not found.get("allocations"):
        return _Held()
    if found.get("consumer_type") != CONSUMER_TYPE:
        raise Refused(
            f"{owner} is not a port but a consumer of type {found.get('consumer_type')}",
            where="Placement",
        )
    return _Held(
        resources={uuid: each["resources"] for uuid, each in found["allocations"].items()},
        generation=found["consumer_generation"],
    )


def _is_port(call: Call, owner: str) -> bool:
    """Whether the consumer is ours; a provider's allocations do not show its type."""
    found = call.request("GET", f"/allocations/{owner}").body
    return found.get("consumer_type") == CONSUMER_TYPE


def _gone(what: str) -> Conflict:
    return Conflict(f"{what} is not there any more", where="Placement", hint="choose again")


def _key(pool: Pool) -> Hashable:
    return pool.host, pool.pf, pool.device, pool.traits, pool.physical_network


def _claim(choice: Choice) -> Claim:
    return Claim(
        owner=choice.request.id,
        host=choice.pool.host,
        pf=choice.pool.pf,
        device=choice.pool.device,
        address=None,
        state=ClaimState.CLAIMED,
        rate=choice.request.min_rate,
    )
