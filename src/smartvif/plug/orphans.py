"""Taking away what carries a port's ownership, where the journal does not know the port.

A journal is lost with its disk, or left behind when ``state_path`` is changed. What the switches
keep says whose it is; the rest is known by its name at most, and that is no proof.
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
    """Take away what is ``port``'s: most often nothing, because it never was plugged here.

    A switch that does not answer is passed over with a warning: Nova unplugs up to three times what
    it has not plugged.
    Raises: Failed and CannotTell, where something is there and cannot be removed.
    """
    relay = _relay(port, drivers)
    answering = dict(_owned(port, drivers))
    if relay is not None:
        drivers.need_forwarder().remove(relay)
    # Before the ports in the switches: should we die in between, they show again whose it is.
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
    """What each switch that answers says that it has for the port; None: it does not know."""
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
            _log.warning("%s bears port %s's name, and may be another's: left", name, port)


def _passed_over(port: str, error: CannotTell | TimedOut) -> None:
    _log.warning("port %s is not in the journal, and its rest is unknown: %s", port, error)
