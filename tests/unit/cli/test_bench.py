"""The bench of starting commands runs, and says what it measured."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.checkout import CHECKOUT

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
    run = subprocess.run(
        [sys.executable, "-m", "bench.start", "--quick"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^(\S.*?) {2,}([0-9.]+) +([0-9.]+)$", run.stdout, re.M)
    assert [name for name, _, _ in rows] == MEASURED, run.stdout
    assert all(float(time) > 0 and float(ratio) > 0 for _, time, ratio in rows)
