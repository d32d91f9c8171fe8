"""Calls over the border between a service and its privileged daemon, with our errors both ways."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from oslo_privsep import comm, daemon, priv_context

from smartvif.model.errors import (
    CannotTell,
    Failed,
    Invalid,
    NotFound,
    Refused,
    SmartvifError,
    TimedOut,
)

P = ParamSpec("P")
R = TypeVar("R")

_KINDS = {kind.__name__: kind for kind in (Failed, Invalid, NotFound, Refused, TimedOut)}


class Carried(Exception):
    """An error on its way out of the daemon, which sends the class and the arguments only."""


def entrypoint(
    context: priv_context.PrivContext,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have the daemon of ``context`` run the function that is decorated."""

    def decorate(act: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(act)
        def carrying(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return act(*args, **kwargs)
            except SmartvifError as error:
                kind = type(error).__name__
                raise Carried(kind, error.what, error.where, error.hint) from error

        entry: Callable[P, R] = context.entrypoint(carrying)
        return entry

    return decorate


@contextmanager
def asked(context: priv_context.PrivContext) -> Iterator[None]:
    """The daemon's errors as ours, and what keeps it from starting as well.

    Raises: what the daemon does; CannotTell, where it does not start or does not answer.
    """
    try:
        yield
    except Carried as error:
        kind, what, where, hint = error.args
        raise _KINDS[kind](what, where=where, hint=hint) from None
    except (daemon.FailedToDropPrivileges, comm.PrivsepTimeout, OSError) as error:
        raise CannotTell(
            f"the privileged helper does not answer: {error}",
            where="privsep",
            hint="see its output in this service's log,"
            f" and helper_command in [{context.cfg_section}]",
        ) from error
