"""The kernel's own answers about VFs, of links that have none."""

from __future__ import annotations

import pytest

from smartvif.drivers.netlink import Links
from smartvif.model.errors import Failed, NotFound
from smartvif.sim.testing import on_simulated_host


@on_simulated_host()
def test_a_link_without_vfs() -> None:
    """The kernel understands what it is asked: it knows trust, and this link has no use for it."""
    links = Links()
    with pytest.raises(Failed, match="not supported"):
        links.set_vf_trust("lo", 0, True)
    with pytest.raises(NotFound, match="no VF 0"):
        links.vf_trust("lo", 0)
    with pytest.raises(NotFound):
        links.vf_trust("no-such-link", 0)
