"""The coalescer: one act for many threads, and for each its own outcome."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from smartvif.drivers.ovs.batching import Batcher
from smartvif.model.deadline import Deadline
from smartvif.model.errors import Failed, SmartvifError, TimedOut


class Acts:
    """What was acted on, batch by batch; the first batch waits until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, values: Sequence[str], _: Deadline) -> Sequence[SmartvifError | None]:
        self.batches.append(list(values))
        self.begun.set()
        self.go.wait(10.0)
        return [Failed(value) if value.startswith("bad") else None for value in values]


def _submit(coalescer: Batcher[str], value: str, seconds: float, said: dict[str, str]) -> None:
    try:
        coalescer.submit(value, Deadline(seconds))
        said[value] = "done"
    except SmartvifError as error:
        said[value] = type(error).__name__


def _queued(coalescer: Batcher[str], number: int) -> None:
    while len(coalescer._queue) < number:
        threading.Event().wait(0.001)


def test_those_that_come_meanwhile_share_one_act() -> None:
    """The first acts alone and at once, all others together, and each hears of itself only."""
    acts, said = Acts(), dict[str, str]()
    coalescer = Batcher(acts)
    threads = [threading.Thread(target=_submit, args=(coalescer, "first", 10.0, said))]
    threads[0].start()
    assert acts.begun.wait(5.0)
    for value in ("good", "bad", "better"):
        threads.append(threading.Thread(target=_submit, args=(coalescer, value, 10.0, said)))
        threads[-1].start()
    _queued(coalescer, 3)
    acts.go.set()
    for thread in threads:
        thread.join(5.0)
    assert acts.batches[0] == ["first"]
    assert sorted(acts.batches[1]) == ["bad", "better", "good"]
    assert said == {"first": "done", "good": "done", "bad": "Failed", "better": "done"}


def test_a_request_whose_turn_does_not_come_is_never_acted_on() -> None:
    """At its deadline it leaves the queue, so that nobody acts for it later."""
    acts, said = Acts(), dict[str, str]()
    coalescer = Batcher(acts)
    first = threading.Thread(target=_submit, args=(coalescer, "first", 10.0, said))
    first.start()
    assert acts.begun.wait(5.0)
    with pytest.raises(TimedOut, match="still queued"):
        coalescer.submit("late", Deadline(0.05))
    acts.go.set()
    first.join(5.0)
    coalescer.submit("next", Deadline(5.0))
    assert acts.batches == [["first"], ["next"]]


def test_a_request_that_is_acted_on_never_says_that_it_was_not() -> None:
    """One that is in another's batch at its deadline waits for that batch and tells its outcome."""
    acts, said = Acts(), dict[str, str]()
    acts.go.set()
    coalescer = Batcher(acts)
    with coalescer._acting:
        threads = [
            threading.Thread(target=_submit, args=(coalescer, value, seconds, said))
            for value, seconds in (("leads", 10.0), ("short", 0.3))
        ]
        for thread in threads:
            thread.start()
        _queued(coalescer, 2)
        acts.go.clear()
    assert acts.begun.wait(5.0)
    threading.Event().wait(0.5)
    acts.go.set()
    for thread in threads:
        thread.join(5.0)
    assert sorted(acts.batches[0]) == ["leads", "short"]
    assert said == {"leads": "done", "short": "done"}
