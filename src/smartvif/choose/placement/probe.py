"""Whether a Placement can allocate one device twice.

By default it can. A claim that conflicts with another is retried inside the transaction that the
first attempt wrote to; the retry reads its own rows there, or an old snapshot of the others', and
no longer sees that nothing is left (placement/objects/allocation.py, replace_all). With
``[placement] allocation_conflict_retry_count = 1`` there is no retry, and the claim is refused.
The API does not show the option, so it is read from the configuration file, or probed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from threading import Barrier

from smartvif.choose.allow_list import oslo_ini
from smartvif.choose.placement.client import CONCURRENT, Call, PlacementResponse
from smartvif.model.errors import CannotTell, Invalid, Refused

_OPTION = ("placement", "allocation_conflict_retry_count")
_LINE = "allocation_conflict_retry_count = 1"
_SCRATCH = "smartvif-probe-"
_CLASS = "CUSTOM_SMARTVIF_PROBE"
_RIVALS = 4  # concurrent claims
_ENOUGH, _MOST = 4, 40  # rounds in which claims met, and rounds


def check_config(path: Path) -> None:
    """Check the option in Placement's configuration file.

    Raises: Refused; CannotTell, where it cannot be read.
    """
    try:
        options = oslo_ini.options(path.read_text())
        values = [entry for name, entry in options if name == _OPTION]
        count = int(oslo_ini.plain(values[-1])) if values else None
    except (OSError, ValueError, Invalid) as error:
        raise CannotTell(str(error), where=str(path)) from error
    if count != 1:
        said = "does not set allocation_conflict_retry_count" if count is None else f"sets {count}"
        raise _refused(f"it {said}, so Placement can give one device to two ports", str(path))


def is_scratch(name: str) -> bool:
    """Whether a provider is one that a probe has made."""
    return name.startswith(_SCRATCH)


def probe(begin: Callable[[], Call]) -> None:
    """Send concurrent claims for the single device of a provider of our own, repeatedly.

    If two of them succeed, Placement over-allocates; if one is refused for a conflict, it does not.
    Without any conflict the claims were never concurrent, and the result is unknown.
    Raises: Refused; CannotTell; Failed.
    """
    provider = str(uuid.uuid4())
    path = f"/resource_providers/{provider}"
    call = begin()
    call.request("PUT", f"/resource_classes/{_CLASS}")
    try:
        call.request("POST", "/resource_providers", {"name": _SCRATCH + provider, "uuid": provider})
        body = {"resource_provider_generation": 0, "inventories": {_CLASS: {"total": 1}}}
        call.request("PUT", f"{path}/inventories", body)
        met = 0
        for _ in range(_MOST):
            met += _round(begin, provider)
            if met == _ENOUGH:
                return
    finally:
        begin().request("DELETE", path, accept=[HTTPStatus.NOT_FOUND])
    raise CannotTell(
        f"in {_MOST} rounds of {_RIVALS} concurrent claims only {met} had a conflict",
        where="Placement",
        hint=f"check that its configuration file has under [placement]: {_LINE}",
    )


def _round(begin: Callable[[], Call], provider: str) -> bool:
    """Whether one of several concurrent claims was refused for a conflict.

    Raises: Refused, where several got the single device.
    """
    start = Barrier(_RIVALS)
    consumers = [str(uuid.uuid4()) for _ in range(_RIVALS)]

    def claim(consumer: str) -> PlacementResponse:
        call = begin()
        body = {
            "allocations": {provider: {"resources": {_CLASS: 1}}},
            "consumer_generation": None,
            "consumer_type": "SMARTVIF_PROBE",
            "project_id": _CLASS,
            "user_id": _CLASS,
        }
        start.wait()
        return call.request("PUT", f"/allocations/{consumer}", body, accept=[HTTPStatus.CONFLICT])

    try:
        with ThreadPoolExecutor(_RIVALS) as pool:
            answers = list(pool.map(claim, consumers))
    finally:
        for consumer in consumers:
            begin().request("DELETE", f"/allocations/{consumer}", accept=[HTTPStatus.NOT_FOUND])
    granted = sum(answer.ok for answer in answers)
    if granted > 1:
        raise _refused(f"{granted} concurrent claims got one device", "Placement")
    return any(answer.code == CONCURRENT for answer in answers)


def _refused(what: str, where: str) -> Refused:
    return Refused(
        what,
        where=where,
        hint=f"write '{_LINE}' under [placement] in its configuration file, and restart Placement",
    )
