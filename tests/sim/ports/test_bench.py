"""The benches run, and say what they measured."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.support.benches import quick

MEASURED = {
    "vRouter normal plug",
    "vRouter normal unplug",
    "vRouter direct plug",
    "vRouter direct unplug",
    "TAP plug, 0 other ports",
    "TAP unplug, 0 other ports",
    "representor plug, 0 other ports",
    "representor unplug, 0 other ports",
    "burst of 8, plug, threads: 1",
    "burst of 8, unplug, threads: 1",
    "burst of 8, plug, threads: 8",
    "burst of 8, unplug, threads: 8",
    "representor plug, 8 other ports",
    "representor unplug, 8 other ports",
    "look-up among 8 VFs, warm",
    "look-up among 8 VFs, cold",
    "look-up among 64 VFs, warm",
    "look-up among 64 VFs, cold",
}


def test_plug_bench() -> None:
    """Every measurement gives both times and their ratio, and every target is met or missed."""
    if importlib.util.find_spec("vif_plug_ovs") is None:
        pytest.skip("os-vif is not installed")
    said = quick("plug", timeout=120)
    table, _, verdicts = said.partition("\n\n")
    rows = {}
    for line in table.splitlines():
        match = re.fullmatch(r"(\S.*?) {2,}([0-9.]+) +([0-9.]+) +([0-9.]+|-) +([0-9.]+) .*", line)
        if match is not None:
            rows[match[1]] = match
    assert rows.keys() == MEASURED, said
    for row in rows.values():
        ours, peer, ratio = float(row[2]), float(row[3]), float(row[5])
        assert ours > 0
        assert ratio == pytest.approx(ours / peer, rel=0.1, abs=0.001), row[0]
    judged = re.findall(r"^(?:met|missed) +(.*?): [0-9.]+, target 0\.[0-9]+", verdicts, re.M)
    assert set(judged) == {what for what in MEASURED if re.search(r"\bplug\b", what)}, said
