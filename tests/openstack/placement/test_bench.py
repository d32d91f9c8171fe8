"""The bench of choosing and claiming runs, and says what it measured."""

from __future__ import annotations

import re

import pytest

from tests.support.benches import quick
from tests.support.databases import POSTGRESQL

CHOSEN = {"host for 4 ports, hosts: 1", "host for 4 ports, hosts: 10"}
RACED = {"processes: 1", "processes: 2"}
BOTH = {f"choose and claim, {each}" for each in RACED} | {
    "claim and release, ports: 1",
    "claim and release, ports: 4",
    "pools of 2 hosts",
}
OURS = "pools of 4 hosts"
NUMBER = r"([0-9.]+)"


@pytest.mark.skipif(not POSTGRESQL, reason="there is no /usr/lib/postgresql/*/bin")
def test_claims_bench() -> None:
    """Every time of ours is beside the peer's, ratios are theirs, targets are met or missed."""
    said = quick("claims", timeout=240)
    tables, _, verdicts = said.rpartition("\n\n")

    def rows(count: int) -> dict[str, list[float]]:
        pattern = rf"^(\S+(?: \S+)*) {{2,}}{' +'.join([NUMBER] * count)}$"
        found = re.findall(pattern, tables, re.MULTILINE)
        return {what: [float(each) for each in numbers] for what, *numbers in found}

    pairs = rows(3)
    assert pairs.keys() == CHOSEN | RACED, said
    for what, numbers in pairs.items():
        assert numbers[2] == pytest.approx(numbers[0] / numbers[1], rel=0.1, abs=0.01), what
    spreads = rows(7)
    assert spreads.keys() == BOTH, said
    for what, numbers in spreads.items():
        ours, peer, ratio = numbers[:3], numbers[3:6], numbers[6]
        for median, p95, worst in (ours, peer):
            assert 0 < median <= p95 <= worst, what
        assert ratio == pytest.approx(ours[0] / peer[0], rel=0.1, abs=0.001), what
    assert re.search(rf"^{OURS}(?: +{NUMBER}){{3}}(?: +-){{4}}$", tables, re.MULTILINE), said
    judged = re.findall(r"^(?:met|missed) +(.*?): [0-9.]+(?: times)?, target ", verdicts, re.M)
    assert judged == [
        "host for 4 ports, hosts: 10",
        *(f"claims a second, {each}, postgresql" for each in sorted(RACED)),
    ]
