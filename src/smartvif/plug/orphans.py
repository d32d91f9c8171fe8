"""Remove what carries a port's ownership, where the port is not in the journal.

A journal is lost with its disk, or left behind when ``state_path`` is changed. What the switches
keep names its owner; the rest is known by its name at most, and that is no proof.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from smartvif.control import names
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import RelaySpec
from smartvif.model.errors import CannotTell, TimedOut

_log = logging.getLogger(__name__)


def remove_orphans(port: str, drivers: Drivers) -> None:
    """Remove what is ``port``'s: most often nothing, because it never was plugged here.

    A switch that does not answer is passed over with a warning: Nova unplugs up to three times what
    it has not plugged.
    Raises: Failed and CannotTell, where something is there and cannot be removed.
    """
    relay = _relay(port, drivers)
    answering = dict(_owned(port, drivers))
    if relay is not None:
        drivers.need_forwarder().remove(relay)
    # Before the ports in the switches: if this process dies in between, they still name the owner.
    _links(port, drivers, known=bool(relay or any(answering.values())))
    for switch, owned in answering.items():
        try:
            if owned is None or owned:
                drivers.switch(switch).remove_owned(port)
        except TimedOut as error:
            _passed_over(port, error)


def _relay(port: str, drivers: Drivers) -> RelaySpec | None:
    try:
        return drivers.forwarder.relay_spec(port) if drivers.forwarder is not None else None
    except CannotTell as error:
        _passed_over(port, error)
        return None


def _owned(port: str, drivers: Drivers) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """What each switch that answers has for the port; None: unknown."""
    for name, switch in drivers.switches.items():
        try:
            yield name, switch.owned_by(port)
        except CannotTell as error:
            _passed_over(port, error)


def _links(port: str, drivers: Drivers, *, known: bool) -> None:
    """Delete the port's tap where it is sure that we made it.

    Others name links after ports as well. It is ours where something else shows that we plugged
    the port, and it is a tap as we make them and no guest's.
    """
    tap = names.tap(port)
    for name in (tap, names.hybrid_bridge(port), names.hybrid_veth(port)[1]):
        if drivers.links.get(name) is None:
            continue
        if known and name == tap and drivers.links.is_idle_tap(tap):
            drivers.links.delete(tap)
        else:
            _log.warning(
                "%s has the name of port %s, and may have another owner: not removed", name, port
            )


def _passed_over(port: str, error: CannotTell | TimedOut) -> None:
    _log.warning(
        "port %s is not in the journal, and what is left of it is not known: %s", port, error
    )
