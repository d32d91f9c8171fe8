"""Bringing ports to an end whose process died, and repairing those that differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from smartvif.drivers.drivers import Drivers
from smartvif.model.errors import SmartvifError
from smartvif.plug.executor import _MOST_THREADS, _undo
from smartvif.plug.journal import Journal, PortStatus


def recover(
    journal: Journal, drivers: Drivers, *, leave: Collection[str] = (), dry_run: bool = False
) -> dict[str, str]:
    """Bring every port to an end: undo what is half done, take again the steps that hold no more.

    Half done is what a dead process left; a port that a living one is at work on is left alone.
    A step holds no more after a reboot, for one, which takes taps away. All ports are seen to at
    the same time, so that they share the switch's transactions. Those to ``leave`` are left.
    Returns what was done for the ports concerned, or with ``dry_run`` would be, by their names.
    Raises: as unplug and plug do, for the first port that cannot be helped, when all have been
    seen to.
    """
    ports = [record.id for record in journal.ports() if record.id not in leave]
    return for_each_port(
        ports,
        lambda port: _to_do(port, journal, drivers),
        journal,
        dry_run=dry_run,
        threads=_MOST_THREADS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a port needs: what to tell of it, and how to do it."""

    words: str
    do: Callable[[], None]


def for_each_port(
    ports: Sequence[str],
    to_do: Callable[[str], Action | None],
    journal: Journal,
    *,
    dry_run: bool,
    threads: int = 1,
) -> dict[str, str]:
    """Do for each port what ``to_do`` says, unless somebody is at work on it.

    Returns the words for the ports concerned, by their names; with ``dry_run`` nothing is done.
    Raises: the first error of a port, when all have been seen to.
    """
    concerned: dict[str, str] = {}
    failed: list[SmartvifError] = []

    def help_port(port: str) -> None:
        try:
            with journal.locked(port, wait=False) as held:
                action = to_do(port) if held else None
                if action is not None:
                    concerned[port] = action.words
                    if not dry_run:
                        action.do()
        except SmartvifError as error:
            failed.append(error)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(help_port, ports))
    if failed:
        raise failed[0]
    return concerned


def _to_do(port: str, journal: Journal, drivers: Drivers) -> Action | None:
    """What a port needs that nobody is at work on."""
    record = journal.port(port)
    if record is None:
        return None
    if record.status is not PortStatus.PLUGGED:
        return Action(
            words=f"undo: it was {record.status}", do=lambda: _undo(port, journal, drivers)
        )
    wrong = [entry.step for entry in journal.entries(port) if not entry.step.check(drivers)]
    if not wrong:
        return None

    def again() -> None:
        for step in wrong:
            step.do(drivers)

    return Action(words=f"do again: {', '.join(step.describe() for step in wrong)}", do=again)
