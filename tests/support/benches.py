"""Run a bench as a person does."""

from __future__ import annotations

import subprocess
import sys

from tests.support.checkout import CHECKOUT


def quick(name: str, *, timeout: float) -> str:
    """What ``bench.NAME --quick`` prints; ``timeout`` in seconds."""
    run = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", "--quick"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
