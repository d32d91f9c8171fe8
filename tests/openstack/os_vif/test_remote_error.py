"""Errors of a privileged daemon, as the service gets them: by a real one, forked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from oslo_config import cfg
from oslo_privsep.priv_context import Method, PrivContext

from smartvif.drivers.vrouter.agent import AgentDown
from smartvif.model import errors
from smartvif.model.errors import CannotTell, SmartvifError, StepFailed
from smartvif.openstack import remote_error

KINDS = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SmartvifError)
}

context = PrivContext(
    __name__, cfg_section="test_remote_error", pypath=f"{__name__}.context", capabilities=[]
)


@remote_error.entrypoint(context)
def _fail(kind: str, what: str, where: str, hint: str) -> None:
    if kind == "AgentDown":
        raise AgentDown(what, where=where, hint=hint)
    if kind == "StepFailed":
        raise StepFailed("create tap tap0", CannotTell(what, where=where, hint=hint))
    raise KINDS[kind](what, where=where, hint=hint)


@pytest.fixture(scope="module", autouse=True)
def daemon() -> Iterator[None]:
    """The daemon, which needs no capability for this."""
    cfg.CONF([])
    context.start(Method.FORK)
    assert context.channel is not None
    sock = context.channel.writer.writesock
    yield
    context.stop()
    sock.close()  # stop only shuts it down


def fails(kind: str) -> SmartvifError:
    """The error that the service gets."""
    with pytest.raises(SmartvifError) as caught, remote_error.raising_ours(context):
        _fail(kind, "it is 'full'", "kernel: é \udcff", "empty it")
    assert (caught.value.where, caught.value.hint) == ("kernel: é \udcff", "empty it")
    return caught.value


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"StepFailed"}))
def test_every_class_comes_out_whole(kind: str) -> None:
    """Class, what, where and hint are those that the daemon raised."""
    error = fails(kind)
    assert (type(error), error.what) == (KINDS[kind], "it is 'full'")


def test_a_failed_step_comes_out_with_its_cause() -> None:
    """The step and the class of its cause are known to the service as well."""
    error = fails("StepFailed")
    assert isinstance(error, StepFailed)
    assert error.what == "cannot create tap tap0: it is 'full'"
    assert (error.step, type(error.cause)) == ("create tap tap0", CannotTell)


def test_a_class_of_a_driver_comes_out_as_its_nearest_of_ours() -> None:
    """The service need not have the driver."""
    error = fails("AgentDown")
    assert (type(error), error.what) == (CannotTell, "it is 'full'")
