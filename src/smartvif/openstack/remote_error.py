"""Calls from a service to its privileged daemon, whose errors arrive as what they were."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from oslo_privsep import comm, daemon, priv_context

from smartvif.model import error_codec
from smartvif.model.errors import CannotTell, SmartvifError

P = ParamSpec("P")
R = TypeVar("R")


class RemoteError(Exception):
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
                raise RemoteError(error_codec.encode(error)) from error

        entry: Callable[P, R] = context.entrypoint(carrying)
        return entry

    return decorate


@contextmanager
def raising_ours(context: priv_context.PrivContext) -> Iterator[None]:
    """The daemon's errors as ours, and what keeps it from starting as well.

    Raises: what the daemon does; CannotTell, where it does not start or does not answer.
    """
    try:
        yield
    except RemoteError as error:
        (document,) = error.args
        raise error_codec.decode(document) from None
    except (daemon.FailedToDropPrivileges, comm.PrivsepTimeout, OSError) as error:
        raise CannotTell(
            f"the privileged helper does not answer: {error}",
            where="privsep",
            hint="see its output in this service's log,"
            f" and helper_command in [{context.cfg_section}]",
        ) from error
