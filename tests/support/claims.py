"""Claims of VFs on a simulated host, and processes that die while they make them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from unittest import mock

from smartvif.context.host import HostContext
from smartvif.model.choices import Mode
from smartvif.model.port_spec import PortSpec
from smartvif.operations.ports import attach
from smartvif.sim.host import BRIDGE
from tests.support.commands import host

ASK = ("attach", "--vm", "vm1", "--mode", "direct", "--bridge", BRIDGE)
FIRST, SECOND = "0000:04:00.0", "0000:04:00.1"
OF_SECOND_PF = "0000:05:00.0"


def claims(of: HostContext) -> dict[str, tuple[str, str]]:
    """Each claimed device with its owner and state."""
    return {str(each.address): (each.owner, each.state) for each in of.claims.claims()}


def attach_one(of: HostContext) -> None:
    request = PortSpec(vm="vm1", mode=Mode.DIRECT, bridge=BRIDGE)
    attach.attach(request, of)


def dies(at: tuple[type, str], *, before: bool, work: Callable[[], None]) -> None:
    """Have a process do the work and be killed before or after it calls that method."""
    kind, method = at
    real = getattr(kind, method)

    def fatal(*args: object, **kwargs: object) -> None:
        if not before:
            real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        with mock.patch.object(kind, method, fatal), contextlib.suppress(BaseException):
            work()
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), (kind, method, before)


def smartvif_in_process(port: str | None) -> None:
    """Attach a port, or detach the one given, in this process."""
    if port is None:
        attach_one(host())
    else:
        from smartvif.operations.ports.detach import detach

        detach(port, host())
