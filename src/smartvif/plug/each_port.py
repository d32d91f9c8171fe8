"""Apply an action to each port that needs it, independently, and report all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from smartvif.model.errors import SmartvifError
from smartvif.plug.journal import Journal

MOST_THREADS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action for a port: its words for the report, and how to do it."""

    words: str
    do: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done, or would be, in words, and the errors; by port. ``|`` joins two reports.

    ``busy`` are the ports that were left to another process.
    """

    done: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, SmartvifError] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()

    def __or__(self, other: Report) -> Report:
        return Report(
            done={**self.done, **other.done},
            failed={**self.failed, **other.failed},
            busy=self.busy | other.busy,
        )


def for_each_port(
    ports: Sequence[str],
    to_do: Callable[[str], Action | None],
    journal: Journal,
    *,
    dry_run: bool,
    threads: int = 1,
) -> Report:
    """Apply ``to_do`` to each port, except those that another process has locked.

    A failure does not stop the others. With ``dry_run`` nothing is done.
    """
    done: dict[str, str] = {}
    failed: dict[str, SmartvifError] = {}
    busy: set[str] = set()

    def one(port: str) -> None:
        try:
            with journal.locked(port, wait=False) as held:
                if not held:
                    busy.add(port)
                action = to_do(port) if held else None
                if action is not None:
                    done[port] = action.words
                    if not dry_run:
                        action.do()
        except SmartvifError as error:
            failed[port] = error

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, ports))
    return Report(done=done, failed=failed, busy=frozenset(busy))
