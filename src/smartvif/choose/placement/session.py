"""The authenticated session with OpenStack's Placement, by keystoneauth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartvif.model.errors import CannotTell

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from keystoneauth1.plugin import BaseAuthPlugin


def adapter(
    endpoint: str, *, auth_url: str, username: str, password: str, project: str, domain: str
) -> Adapter:
    """Requests to the Placement at ``endpoint``.

    Without ``auth_url`` the service must not authenticate (``[api] auth_strategy = noauth2``).
    Raises: CannotTell, where keystoneauth is not installed.
    """
    try:
        from keystoneauth1 import session
        from keystoneauth1.adapter import Adapter
        from keystoneauth1.identity import Password
        from keystoneauth1.token_endpoint import Token
    except ImportError as error:
        raise CannotTell(
            "keystoneauth1 is not installed", where="Placement", hint="install smartvif[placement]"
        ) from error
    auth: BaseAuthPlugin = Token(endpoint, "admin")
    if auth_url:
        auth = Password(
            auth_url,
            username=username,
            password=password,
            project_name=project,
            user_domain_name=domain,
            project_domain_name=domain,
        )
    return Adapter(session.Session(auth=auth), service_type="placement", endpoint_override=endpoint)
