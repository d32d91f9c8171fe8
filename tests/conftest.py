"""What holds for every test."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import shared_host

# A loaded machine is slow, and that is no failure.
settings.register_profile("smartvif", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("smartvif")


@pytest.fixture(scope="module", autouse=True)
def _hosts_of_the_module() -> Iterator[None]:
    """Simulated hosts that tests of a module share end with it."""
    yield
    shared_host.end_all()
