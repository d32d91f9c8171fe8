"""The kernel's own answers about VFs, of links that have none."""

from __future__ import annotations

import pytest

from smartvif.drivers.kernel.links import Links
from smartvif.host.vf_admin import NO_MAC, VfAdmin
from smartvif.model.errors import NotFound
from smartvif.sim.testing import on_simulated_host


@on_simulated_host()
def test_a_link_without_vfs() -> None:
    """The kernel understands what it is asked: it knows each setting, and this link has none."""
    links = Links()
    for mac in ("52:54:00:12:34:56", NO_MAC):
        assert not links._set_vf("lo", 0, "MAC address", {"mac": mac})
    for setting in ({"vlan": {"vlan": 5, "qos": 1}}, {"spoofchk": 0}, {"trust": 1}):
        assert not links._set_vf("lo", 0, "setting", setting)
    with pytest.raises(NotFound, match="no VF 0"):
        links.vf_admin("lo", 0)
    with pytest.raises(NotFound, match="no such link"):
        links.vf_admin("no-such-link", 0)
    with pytest.raises(NotFound, match="no VF 0"):
        links.set_vf_admin("lo", 0, VfAdmin(mac=NO_MAC))
