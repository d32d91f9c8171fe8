"""The errors that virtio-forwarder reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartvif.drivers.forwarder.virtio_forwarder.messages import PortControlOp, ReadStatus, Status
from smartvif.model.errors import Failed

# What the numbers mean, for each request.
MEANINGS: Mapping[PortControlOp, Mapping[int, str]] = {
    PortControlOp.ADD: {
        -1: "its DPDK cannot make bonds",
        1: "it has no such relay, or could not start the VF",
        2: "it could not take the VF, or make the bond",
        3: "one of the bond's VFs is in use",
        4: "it could not configure the device, or set its MTU",
        5: "it could not make the receive queue, or take one of the bond's VFs",
        6: "it could not make the transmit queue, or start the bond",
        8: "the relay has a device already",
    },
    PortControlOp.REMOVE: {
        1: "it has no such relay",
        2: "it could not close the device",
        3: "the relay has another device",
        4: "the relay has no device",
        5: "the relay's CPU did not release it in time",
    },
    PortControlOp.ADD_SOCK: {
        -17: "the device is in use",
        -1: "it got no path",
        1: "the socket is in use",
        2: "it has no relay left",
        3: "it could not take the VF",
        4: "it could not make the bond",
        5: "it could not make the socket",
    },
    PortControlOp.REMOVE_SOCK: {
        -1: "it got neither path nor device",
        1: "it has no relay for that",
        2: "the socket is another device's",
        3: "it could not take the socket away",
        4: "the socket is gone, but it could not release the device",
    },
    PortControlOp.QUERY_PCI: {
        2: "it has no relay with that socket",
        22: "it got no path",
    },
}


class ForwarderFailed(Failed):
    """The daemon reported a failure.

    ``code`` is its number, None where it gave none; ``source`` is its function's name.
    """

    def __init__(self, what: str, *, where: str, code: int | None = None, source: str = "") -> None:
        super().__init__(what, where=where, hint="see virtio-forwarder's log")
        self.code = code
        self.source = source


def accept(reply: Any, what: str, meanings: Mapping[int, str], *, where: str) -> None:
    """Accept a reply of port control or of the core scheduler.

    Raises: ForwarderFailed.
    """
    if reply.status == Status.OK:
        return
    if reply.HasField("error_code"):
        code, source = reply.error_code, reply.error_code_source
        why = f"{meanings.get(code, 'for no known reason')} ({source} {code})"
    else:
        code, source, why = None, "", "it does not take such a request"
    raise ForwarderFailed(
        f"virtio-forwarder refused {what}: {why}", where=where, code=code, source=source
    )


def accept_read(reply: Any, *, where: str) -> None:
    """Accept a reply with statistics or with the configuration.

    Raises: ForwarderFailed.
    """
    if reply.status != ReadStatus.OK:
        raise ForwarderFailed(
            f"virtio-forwarder refused to report its state: {ReadStatus(reply.status).name}",
            where=where,
            code=reply.status,
        )
