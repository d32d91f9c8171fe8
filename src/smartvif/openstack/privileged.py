"""The host's network links for a service without privileges, by an oslo.privsep daemon.

The daemon runs as root with CAP_NET_ADMIN and nothing else, and does only what is written here: a
call by another name is refused (oslo_privsep/daemon.py, _process_cmd). It is started by the first
call. What comes in is checked again there, because the service may be the one that is broken into.

CAP_NET_ADMIN is enough to move a link into another network namespace (net/core/rtnetlink.c,
rtnl_link_get_net_capable) and to make a tap (drivers/net/tun.c, tun_set_iff).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

from oslo_privsep import capabilities, comm, daemon, priv_context

from smartvif.drivers.netlink import Links
from smartvif.model import checks
from smartvif.model.errors import CannotTell, Failed, Invalid, NotFound, SmartvifError

P = ParamSpec("P")

SECTION = "smartvif_privileged"
_TIMEOUT = 30.0  # seconds for one call, which takes the kernel some milliseconds at most
_KINDS = {kind.__name__: kind for kind in (Failed, Invalid, NotFound)}

context = priv_context.PrivContext(
    "smartvif",
    cfg_section=SECTION,
    pypath=f"{__name__}.context",
    capabilities=[capabilities.CAP_NET_ADMIN],
    timeout=_TIMEOUT,
)
_links = Links()  # the daemon's: it opens nothing before it is used


class Carried(Exception):
    """An error on its way out of the daemon, which sends the class and the arguments only."""


def _entrypoint(act: Callable[P, None]) -> Callable[P, None]:
    """Have the daemon run ``act``."""

    @functools.wraps(act)
    def carrying(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            act(*args, **kwargs)
        except SmartvifError as error:
            kind = type(error).__name__
            raise Carried(kind, error.what, error.where, error.hint) from error

    entry: Callable[P, None] = context.entrypoint(carrying)
    return entry


@_entrypoint
def _set_up(name: str, mtu: int | None) -> None:
    if mtu is not None:
        checks.mtu(mtu)
    _links.set_up(checks.ifname(name), mtu=mtu)


@_entrypoint
def _set_down(name: str) -> None:
    _links.set_down(checks.ifname(name))


@_entrypoint
def _set_mtu(name: str, mtu: int) -> None:
    _links.set_mtu(checks.ifname(name), checks.mtu(mtu))


@_entrypoint
def _set_mac(name: str, mac: str) -> None:
    _links.set_mac(checks.ifname(name), checks.mac(mac))


@_entrypoint
def _set_master(name: str, bridge: str) -> None:
    _links.set_master(checks.ifname(name), checks.ifname(bridge))


@_entrypoint
def _add_tap(name: str, multi_queue: bool) -> None:
    _links.add_tap(checks.ifname(name), multi_queue=multi_queue)


@_entrypoint
def _add_veth(name: str, peer: str) -> None:
    _links.add_veth(checks.ifname(name), checks.ifname(peer))


@_entrypoint
def _add_bridge(name: str) -> None:
    _links.add_bridge(checks.ifname(name))


@_entrypoint
def _delete(name: str) -> None:
    _links.delete(checks.ifname(name))


@_entrypoint
def _move(name: str, to: str) -> None:
    if "/" in to or to in {"", ".", ".."}:
        raise Invalid(f"'{to}' is not the name of a network namespace")
    _links.move(checks.ifname(name), to)


@_entrypoint
def _redirect(source: str, target: str) -> None:
    _links.redirect(checks.ifname(source), checks.ifname(target))


@_entrypoint
def _end_redirect(source: str) -> None:
    _links.end_redirect(checks.ifname(source))


class PrivilegedLinks(Links):
    """The links of this network namespace. The kernel lets everybody read; the daemon changes.

    Raises, in every call that changes something, also: Invalid, for what the daemon does not take;
    CannotTell, where the daemon does not start or does not answer.
    """

    def __init__(self) -> None:
        super().__init__()

    def set_up(self, name: str, *, mtu: int | None = None) -> None:
        with _asked():
            _set_up(name, mtu)

    def set_down(self, name: str) -> None:
        with _asked():
            _set_down(name)

    def set_mtu(self, name: str, mtu: int) -> None:
        with _asked():
            _set_mtu(name, mtu)

    def set_mac(self, name: str, mac: str) -> None:
        with _asked():
            _set_mac(name, mac)

    def set_master(self, name: str, bridge: str) -> None:
        with _asked():
            _set_master(name, bridge)

    def add_tap(self, name: str, *, multi_queue: bool = False) -> None:
        with _asked():
            _add_tap(name, multi_queue)

    def add_veth(self, name: str, peer: str) -> None:
        with _asked():
            _add_veth(name, peer)

    def add_bridge(self, name: str) -> None:
        with _asked():
            _add_bridge(name)

    def delete(self, name: str) -> None:
        with _asked():
            _delete(name)

    def move(self, name: str, to: str | None) -> None:
        assert to is not None  # what is in this namespace is not moved to it
        with _asked():
            _move(name, to)

    def redirect(self, source: str, target: str) -> None:
        with _asked():
            _redirect(source, target)

    def end_redirect(self, source: str) -> None:
        with _asked():
            _end_redirect(source)


@contextmanager
def _asked() -> Iterator[None]:
    """The daemon's errors as ours, and what keeps it from starting as well."""
    try:
        yield
    except Carried as error:
        kind, what, where, hint = error.args
        raise _KINDS[kind](what, where=where, hint=hint) from None
    except (daemon.FailedToDropPrivileges, comm.PrivsepTimeout, OSError) as error:
        raise CannotTell(
            f"the privileged helper does not answer: {error}",
            where="privsep",
            hint=f"see its output in this service's log, and helper_command in [{SECTION}]",
        ) from error
