"""The host that commands work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smartvif.context.host import HostContext


def host() -> HostContext:
    """This host, as its configuration says.

    Raises: Invalid.
    """
    from smartvif.context import settings
    from smartvif.context.host import HostContext

    return HostContext(settings.load())
