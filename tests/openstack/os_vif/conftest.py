"""os-vif, as nova-compute starts it."""

from __future__ import annotations

import os_vif
import pytest


@pytest.fixture(autouse=True, scope="module")
def initialized() -> None:
    """os-vif as nova-compute starts it."""
    os_vif.initialize()
