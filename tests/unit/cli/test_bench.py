"""The bench of starting commands runs, and says what it measured."""

from __future__ import annotations

import re

from tests.support.benches import quick

MEASURED = [
    "python -c pass",
    "smartvif --help",
    "smartvif attach --help",
    "smartvif ports",
    "smartvif show 0b9f9d6e",
    "smartvif nic list",
]


def test_start_bench() -> None:
    """Each command has its time, and its ratio to that of a Python that does nothing."""
    said = quick("start", timeout=120)
    rows = re.findall(r"^(\S.*?) {2,}([0-9.]+) +([0-9.]+)$", said, re.M)
    assert [name for name, _, _ in rows] == MEASURED, said
    assert all(float(time) > 0 and float(ratio) > 0 for _, time, ratio in rows)
