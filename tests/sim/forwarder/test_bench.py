"""The forwarder's bench runs, and says what it measured."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.support.benches import quick

PATHS = ("relay alone", "relay and switch", "tap alone", "tap and switch")
SIZES = (64, 1500)


def test_forwarder_bench() -> None:
    """Every path carries packets of both sizes, ratios are theirs, a killed forwarder is back."""
    said = quick("forwarder", timeout=300)
    found = re.findall(r"^(\S.*?) {2,}(\d+) +([0-9.]+) +([0-9.]+)$", said, re.MULTILINE)
    rates = {(path, int(size)): float(kpps) for path, size, kpps, _ in found}
    assert rates.keys() == set(itertools.product(PATHS, SIZES)), said
    assert min(rates.values()) > 1
    for _, size, kpps, gbits in found:
        assert float(gbits) == pytest.approx(float(kpps) * int(size) * 8e-6, rel=0.1, abs=0.01)
    ratios = re.findall(r"^relay to tap, (.*), (\d+) bytes: ([0-9.]+)$", said, re.MULTILINE)
    assert len(ratios) == 4
    for where, size, ratio in ratios:
        relay, tap = (rates[f"{path} {where}", int(size)] for path in ("relay", "tap"))
        assert float(ratio) == pytest.approx(relay / tap, rel=0.1, abs=0.01)
    assert "Forwarder killed 1 times under pings, and each time back by itself" in said
    assert re.search(r"^least [0-9.]+, median [0-9.]+, most [0-9.]+$", said, re.MULTILINE)
