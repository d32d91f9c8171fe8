"""Make the ports of a machine that starts, for libvirt's hook.

libvirt waits for its hooks, and what they ask of libvirt would wait for them: a deadlock. So the
machine is known by its XML, its ports by the journal, and libvirt is not used
(libvirt.org/hooks.html, "Calling libvirt functions from within a hook script").
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from smartvif.context.host import HostContext
from smartvif.guest import xml
from smartvif.model.deadline import Deadline
from smartvif.model.errors import TimedOut
from smartvif.operations.repair import repair_ports
from smartvif.plug.each_port import Report
from smartvif.plug.journal import PortRecord

_LOOK_EVERY = 0.1  # seconds, while another process is at work on a port


def prepare_start(host: HostContext, domain_xml: str, *, timeout: float = 20.0) -> Report:
    """Take again the steps of the machine's attached ports that do not hold.

    What was done is read back: then it is known of every step, where it was not for the others.
    A port that another process is at work on is waited for, ``timeout`` seconds for all of them.
    What was done, and what failed, by port. A machine without ports costs a look at the journal,
    and where there is no journal, none is made.
    Raises: Invalid, for what is no domain's XML; CannotTell, where the journal cannot be read.
    """
    name, uuid = xml.identity(domain_xml)
    if not _has_journal(Path(host.settings.state.directory)):
        return Report()
    records = host.journal.ports()
    mine = {record.id for record in records if _is_of(record, name, uuid)}
    if not mine:
        return Report()
    leave = {record.id for record in records} - mine
    deadline = Deadline(timeout)
    done: dict[str, str] = {}
    while True:
        report = repair_ports(host.journal, host.drivers, leave=leave, machines=False)
        # Rows that cannot be read are reported whosever they are.
        failed = {port: error for port, error in report.failed.items() if port in mine}
        read_back = report.done.keys() <= done.keys()
        done |= report.done
        if failed or not deadline.left() or (read_back and not report.busy):
            break
        if report.busy:
            time.sleep(_LOOK_EVERY)
    late = {port: _late(port, timeout) for port in report.busy}
    return Report(done=done, failed=late | failed)


def _has_journal(directory: Path) -> bool:
    """Whether there is one that this user may use: users have machines of their own."""
    path = directory / "state.db"
    return os.path.exists(path) and (os.geteuid() == 0 or os.access(path, os.W_OK))


def _is_of(record: PortRecord, name: str, uuid: str) -> bool:
    """smartvif 0.1.0 did not keep the UUID."""
    known = record.facts.vm_uuid
    return record.facts.vm == name if known is None else known.lower() == uuid


def _late(port: str, timeout: float) -> TimedOut:
    return TimedOut(
        f"another process was at work on it for {timeout:g} s",
        where=f"port {port}",
        hint="start the machine again when that has ended",
    )
