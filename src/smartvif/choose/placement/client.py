"""Placement's HTTP API: one request, and the requests of one call, which share a deadline.

https://docs.openstack.org/api-ref/placement/
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from smartvif.choose.placement import providers as placement_provider
from smartvif.choose.placement.providers import Provider
from smartvif.model.deadline import Deadline
from smartvif.model.errors import CannotTell, Conflict, Failed, Refused

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter

# Xena's. What of it is needed: allocations have a type of consumer (1.38), the host itself has to
# have traits (1.35), candidates are of one host (1.31). Not more, so that Xena will do.
MICROVERSION = "1.38"
# placement/errors.py
CONCURRENT = "placement.concurrent_update"
IN_USE = "placement.inventory.inuse"

_TRIES = 3  # of a request that the service failed at
_FIRST, _LONGEST = 0.02, 0.5  # seconds between tries; about what one allocation takes
_HINTS = {
    HTTPStatus.UNAUTHORIZED: "is the token, or the password, still good?",
    HTTPStatus.FORBIDDEN: "the user needs the role service or admin",
    HTTPStatus.NOT_ACCEPTABLE: f"microversion {MICROVERSION} is needed: Placement of Xena or newer",
}
_IS_IT_PLACEMENT = "is it Placement that has this address?"
_random = random.SystemRandom()  # processes that were forked must not keep in step


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementResponse:
    """Placement's response; for a refusal with its ``code`` and ``words``."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    words: str = ""

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status < HTTPStatus.BAD_REQUEST


class Call:
    """The requests of one call. ``timeout`` is in seconds, for all of them and their repetition.

    Every request can be sent again: what it changes is guarded by a generation, or is there once.
    """

    def __init__(self, adapter: Adapter, timeout: float) -> None:
        self._adapter = adapter
        self._deadline = Deadline(timeout)

    def tries(self) -> Iterator[int]:
        """Numbers from 0 until the deadline, with a pause before each but the first.

        The pauses grow, and are of random length, so that those that met do not meet again.
        """
        number = 0
        while True:
            yield number
            pause = _random.uniform(0, min(_LONGEST, _FIRST * 2**number))
            if pause >= self._deadline.left():
                return
            time.sleep(pause)
            number += 1

    def get(self, path: str, *keys: str, query: Sequence[tuple[str, str]] = ()) -> Any:
        """What the answer's body has under the keys: one value, or several in their order.

        Raises: CannotTell; Failed.
        """
        body = self.request("GET", path, query=query).body
        if not all(key in body for key in keys):
            raise CannotTell(
                f"the answer to GET {path} has no {', '.join(keys)}",
                where="Placement",
                hint=_IS_IT_PLACEMENT,
            )
        found = [body[key] for key in keys]
        return found[0] if len(found) == 1 else found

    def providers(self, **query: str) -> tuple[Provider, ...]:
        """The resource providers that a query finds.

        Raises: CannotTell; Failed.
        """
        entries = self.get("/resource_providers", "resource_providers", query=list(query.items()))
        return tuple(placement_provider.read(entry) for entry in entries)

    def tree(self, host: str) -> tuple[Provider, ...]:
        """The provider of a host and those below it; none where Placement has no such host.

        Raises: Refused, where it is no host that has this name; CannotTell; Failed.
        """
        found = self.providers(name=host)
        if not found:
            return ()
        [root] = found
        if root.parent is not None:
            raise Refused(
                f"'{host}' is a resource provider below another, so it is no host",
                where="Placement",
                hint="is this the host's name as Nova has it?",
            )
        below = self.providers(in_tree=root.uuid)
        return (root, *(each for each in below if each.uuid != root.uuid))

    def known_traits(self, names: Iterable[str]) -> frozenset[str]:
        """Which of the traits Placement knows; it refuses queries with others.

        Raises: CannotTell; Failed.
        """
        asked = sorted(names)
        if not asked:
            return frozenset()
        return frozenset(self.get("/traits", "traits", query=[("name", f"in:{','.join(asked)}")]))

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        accept: Sequence[HTTPStatus] = (),
    ) -> PlacementResponse:
        """Send a request. What it refuses is an error, unless ``accept`` has the status.

        Raises: CannotTell, where there is no answer in time, or none of Placement's; Conflict,
        where a concurrent change was first; Failed with Placement's words.
        """
        answer, problem = None, "the deadline passed before the request was sent"
        for number in self.tries():
            try:
                answer = self._once(method, path, body, query)
            except _Silent as silent:
                problem = str(silent)
            else:
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    break
                problem = answer.words
            if number + 1 == _TRIES:
                break
        if answer is None or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise CannotTell(
                f"no answer to {method} {path}: {problem}",
                where="Placement",
                hint="does it run, and its database?",
            )
        if not answer.ok and answer.status not in accept:
            refuse(answer)
        return answer

    def _once(
        self, method: str, path: str, body: object, query: Sequence[tuple[str, str]]
    ) -> PlacementResponse:
        from keystoneauth1 import exceptions

        try:
            response = self._adapter.request(
                path,
                method,
                params=list(query),
                timeout=max(self._deadline.left(), 0.001),  # of 0 requests would make an error
                raise_exc=False,
                microversion=MICROVERSION,
                microversion_service_type="placement",
                headers={"Accept": "application/json"},
                connect_retries=0,
                **({} if body is None else {"json": body}),
            )
        except exceptions.ConnectionError as error:
            raise _Silent(str(error)) from error
        except exceptions.ClientException as error:
            # Of Keystone, then: a wrong password, no such service in the catalog.
            hint = (
                _HINTS[HTTPStatus.UNAUTHORIZED]
                if isinstance(error, exceptions.Unauthorized)
                else ""
            )
            raise Failed(str(error), where="Keystone", hint=hint) from error
        return _answer(response.status_code, response.content, response.json)


class _Silent(Exception):
    """There was no answer."""


def refuse(answer: PlacementResponse) -> NoReturn:
    """Raise what a refusal means.

    Raises: Conflict; Failed.
    """
    status = HTTPStatus(answer.status)
    if status is HTTPStatus.CONFLICT:
        raise Conflict(answer.words, where="Placement", hint="try again")
    raise Failed(
        f"{status.value} {status.phrase}: {answer.words}",
        where="Placement",
        hint=_HINTS.get(status, ""),
    )


def _answer(status: int, content: bytes, parse: Any) -> PlacementResponse:
    """Raises: CannotTell, where it is not Placement that speaks."""
    if not content and status < HTTPStatus.BAD_REQUEST:
        return PlacementResponse(status=status)
    try:
        body = parse()
    except ValueError:
        body = None
    if isinstance(body, dict) and status < HTTPStatus.BAD_REQUEST:
        return PlacementResponse(status=status, body=body)
    try:
        [error, *_] = body["errors"]
        words = " ".join(error["detail"].split())
        return PlacementResponse(status=status, code=error.get("code", ""), words=words)
    except (AttributeError, KeyError, TypeError, ValueError):
        text = " ".join(content[:200].decode(errors="replace").split())
    # A proxy before Placement answers without JSON where Placement is down, or for an unknown user.
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or status >= 500:
        return PlacementResponse(status=status, words=f"{status} {text}".strip())
    raise CannotTell(f"it answered {status} '{text}'", where="Placement", hint=_IS_IT_PLACEMENT)
