"""The links in the forwarder's network namespace, by a second oslo.privsep daemon.

To enter a namespace takes CAP_SYS_ADMIN (setns(2)), and with that one can do nearly everything. So
it is a daemon of its own, which only a port behind the forwarder needs and starts, and which does
three things in one namespace: the one that the daemon's own configuration names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_privsep import capabilities, priv_context

from smartvif.drivers.kernel.links import Links
from smartvif.drivers.kernel.netdevice import Link
from smartvif.model import checks
from smartvif.model.errors import Failed, Invalid, NotFound
from smartvif.openstack import remote_error as carried
from smartvif.openstack.options import list_opts

SECTION = "smartvif_privileged_netns"
_TIMEOUT = 30.0  # seconds for one call, which takes the kernel some milliseconds at most
_NAMESPACES = Path("/run/netns")  # ip-netns(8)

context = priv_context.PrivContext(
    "smartvif",
    cfg_section=SECTION,
    pypath=f"{__name__}.context",
    capabilities=[capabilities.CAP_NET_ADMIN, capabilities.CAP_SYS_ADMIN],
    timeout=_TIMEOUT,
)
_asked = partial(carried.raising_ours, context)


@carried.entrypoint(context)
def _get(group: str, name: str) -> dict[str, Any] | None:
    with _namespace(group) as inside:
        link = inside.get(checks.ifname(name))
    return asdict(link) if link is not None else None


@carried.entrypoint(context)
def _set_up(group: str, name: str, mtu: int) -> None:
    with _namespace(group) as inside:
        inside.set_up(checks.ifname(name), mtu=checks.mtu(mtu))


@carried.entrypoint(context)
def _move_out(group: str, name: str) -> None:
    with _namespace(group) as inside:
        inside.move(checks.ifname(name), None)


@contextmanager
def _namespace(group: str) -> Iterator[Links]:
    """The links of the namespace that the configuration names: the service may not name another."""
    groups = dict(list_opts())
    if group not in groups:
        raise Invalid(f"[{group}] is no section of a plugin of smartvif")
    cfg.CONF.register_opts(groups[group], group)
    name = cfg.CONF[group].forwarder_netns
    if not name:
        raise Failed(
            f"the privileged helper knows no forwarder_netns in [{group}]",
            where="privsep",
            hint=f"it reads the files of --config-file in helper_command of [{SECTION}]",
        )
    # pyroute2 would make one that is not there.
    if not (_NAMESPACES / name).exists():
        raise NotFound(
            f"there is no network namespace '{name}'",
            where="forwarder",
            hint=f"forwarder_netns in [{group}] is one of: ip netns list",
        )
    with closing(Links(name)) as inside:
        yield inside


class PrivsepNamespaceLinks:
    """The links in the namespace that ``forwarder_netns`` in the section ``group`` names.

    Raises, in every call: Invalid, for what the daemon does not take; Failed and NotFound, where it
    has no such namespace, or with the kernel's words; CannotTell, where it does not start or does
    not answer.
    """

    def __init__(self, group: str) -> None:
        self._group = group

    def get(self, name: str) -> Link | None:
        """The link called ``name``, or None."""
        with _asked():
            found = _get(self._group, name)
        return Link(**found) if found is not None else None

    def set_up(self, name: str, *, mtu: int) -> None:
        """Bring a link up, with ``mtu`` bytes."""
        with _asked():
            _set_up(self._group, name, mtu)

    def move(self, name: str, to: None) -> None:
        """Move a link out, to the namespace of the service."""
        with _asked():
            _move_out(self._group, name)

    def close(self) -> None:
        """Nothing stays open between two calls."""
