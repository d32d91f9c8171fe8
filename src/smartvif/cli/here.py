"""The host that commands work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smartvif.chain.host import Host


def host() -> Host:
    """This host, as its configuration says.

    Raises: Invalid.
    """
    from smartvif.chain import settings
    from smartvif.chain.host import Host

    return Host(settings.load())
