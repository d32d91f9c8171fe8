"""What busybox's ping says, as figures."""

import pytest

from smartvif.model.errors import Failed
from smartvif.sim.guest.ping import replies

HEAD = "PING 10.0.0.1 (10.0.0.1): 56 data bytes\n"


def said(times: dict[int, float], sent: int) -> str:
    """The output for replies that came so many milliseconds after their packets."""
    lines = [
        f"64 bytes from 10.0.0.1: seq={number} ttl=64 time={late:.3f} ms"
        for number, late in times.items()
    ]
    end = f"{sent} packets transmitted, {len(times)} packets received, 0% packet loss"
    return HEAD + "\n".join([*lines, "", "--- 10.0.0.1 ping statistics ---", end, ""])


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        ({number: 0.0 for number in range(10)}, 0.1),
        ({number: 0.0 for number in range(10) if number not in (3, 4)}, 0.3),
        ({number: 250.0 if number == 3 else 0.0 for number in range(10)}, 0.2),
        ({number: 100.0 * (6 - number) if 3 <= number < 6 else 0.0 for number in range(10)}, 0.4),
        ({0: 0.0, 1: 0.0}, 0.9),
        ({8: 0.0, 9: 0.0}, 0.8),
        ({}, 1.0),
    ],
    ids=["all", "lost", "one late", "held up", "ended", "began", "none"],
)
def test_replies(times: dict[int, float], gap: float) -> None:
    """Lost or late, at the ends or in between: the longest time without a reply is counted."""
    found = replies(said(times, 10), 1.0)
    assert (found.sent, found.received, found.lost) == (10, len(times), 10 - len(times))
    assert found.longest_gap == pytest.approx(gap)


def test_no_result() -> None:
    """A ping that was killed says nothing that could be counted."""
    with pytest.raises(Failed, match="without a result"):
        replies(HEAD, 1.0)
