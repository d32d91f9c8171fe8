"""The relay of an attachment as the forwarder reports it, with its traffic."""

from __future__ import annotations

import time
from dataclasses import dataclass

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.forwarder.engine import (
    DirectionCounters,
    ForwarderEngine,
    RelayCounters,
    RelayState,
)
from smartvif.model.document import JsonObject
from smartvif.model.errors import CannotTell
from smartvif.plug.journal import PortRecord

_WATCHED = 1.0  # seconds between two readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The counters of a relay at a moment, in seconds of the monotonic clock."""

    counters: RelayCounters
    moment: float

    def as_json(self, earlier: Reading | None = None) -> JsonObject:
        """Stable keys; documented in docs/reference/cli.md. Rates are those since ``earlier``."""
        ways = {"to_guest": self.counters.to_guest, "from_guest": self.counters.from_guest}
        if earlier is None:
            return {name: _counted(flow) for name, flow in ways.items()}
        before = {"to_guest": earlier.counters.to_guest, "from_guest": earlier.counters.from_guest}
        seconds = self.moment - earlier.moment
        return {
            name: {
                **_counted(flow),
                "packets_per_second": _rate(flow.packets - before[name].packets, seconds),
                "bytes_per_second": _rate(flow.bytes - before[name].bytes, seconds),
                "drops_per_second": _rate(flow.drops - before[name].drops, seconds),
            }
            for name, flow in ways.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayView:
    """One relay. ``traffic`` is None where it is unknown."""

    state: RelayState
    traffic: JsonObject | None


def read(record: PortRecord, drivers: Drivers, *, rates: bool) -> RelayView | None:
    """The relay of a port, or None where there is none.

    Raises: CannotTell, where the forwarder does not answer.
    """
    if record.facts.mode != "virtio-forwarder":
        return None
    engine = drivers.need_forwarder()
    state = engine.state(record.id)
    if state is None:
        return None
    return RelayView(state=state, traffic=_traffic(record.id, engine, rates=rates))


def _traffic(port: str, engine: ForwarderEngine, *, rates: bool) -> JsonObject | None:
    try:
        earlier = _reading(port, engine)
        if earlier is None or not rates:
            return earlier.as_json() if earlier is not None else None
        time.sleep(_WATCHED)
        now = _reading(port, engine)
    except CannotTell:
        return None
    return now.as_json(earlier) if now is not None else None


def _reading(port: str, engine: ForwarderEngine) -> Reading | None:
    counters = engine.statistics(port)
    return Reading(counters=counters, moment=time.monotonic()) if counters is not None else None


def _counted(flow: DirectionCounters) -> JsonObject:
    return {"packets": flow.packets, "bytes": flow.bytes, "drops": flow.drops}


def _rate(counted: int, seconds: float) -> float:
    """A rate per second; a relay that was made again in between counts from zero."""
    return round(max(counted, 0) / seconds, 1)
