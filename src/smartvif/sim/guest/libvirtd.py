"""A libvirtd of our own, in session mode, with all its state under one directory.

libvirtd as the namespace's root cannot start QEMU where only one user is mapped: it wants to set
supplementary groups, and the kernel denies that there (user_namespaces(7)). In session mode it
does not ask for it, and it runs in session mode when its user is not number 0; hence the nested
user namespace.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from smartvif.model.errors import Failed, Invalid, TimedOut
from smartvif.sim.process import daemons, namespaces

# A socket's path has at most 107 bytes (unix(7)). The longest that libvirtd makes below here is
# config/libvirt/qemu/lib/domain-NNN-<20 characters of the name>/monitor.sock.
_RUN_DIR_MAX = 107 - len("/config/libvirt/qemu/lib/domain-999-/monitor.sock") - 20

_LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{host_uuid}"
"""

# stdio_handler: no virtlogd here. security_driver, namespaces, cgroup_controllers,
# seccomp_sandbox: the confinement of guests is for a host that is worth something.
_QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Libvirtd:
    """A running daemon and the URI that reaches it from within the namespaces."""

    uri: str
    process: subprocess.Popen[bytes]


def start(run_dir: Path, *, timeout: float = 60.0) -> Libvirtd:
    """Start the daemon in ``run_dir`` and wait until it takes connections, ``timeout`` seconds.

    /run and /sys must be the namespaces' own (namespaces.run), and their first process must reap
    orphans: libvirt detaches each QEMU, and believes it alive for 80 seconds while it is a zombie.
    The daemon dies with the thread that called this; its guests do not, and one started again in
    the same directory has them.

    Raises: Invalid, where ``run_dir`` is too long a path; Failed; TimedOut.
    """
    if len(os.fsencode(run_dir)) > _RUN_DIR_MAX:
        what = f"'{run_dir}' is too long a path for libvirt's sockets"
        raise Invalid(what, where="libvirtd", hint=f"at most {_RUN_DIR_MAX} characters")
    environment = {
        # An ordinary user's PATH does not have sbin on Debian.
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(run_dir),
        "XDG_RUNTIME_DIR": str(run_dir / "run"),
        "XDG_CONFIG_HOME": str(run_dir / "config"),
        "XDG_CACHE_HOME": str(run_dir / "cache"),
        "XDG_DATA_HOME": str(run_dir / "data"),
    }
    for kind in ("run", "config/libvirt", "cache", "data"):
        (run_dir / kind).mkdir(parents=True, exist_ok=True)
    config = run_dir / "config" / "libvirt"
    # Two hosts must differ in it to migrate guests to each other, and the machine's own is the
    # same for both; it stays when the daemon is started again.
    place = f"file://{socket.gethostname()}{run_dir}"
    host_uuid = uuid.uuid5(uuid.NAMESPACE_URL, place)
    (config / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(host_uuid=host_uuid))
    (config / "qemu.conf").write_text(_QEMU_CONF)
    log = run_dir / "libvirtd.log"
    process = daemons.spawn(["libvirtd"], log, env=environment, before=namespaces.single_user)
    address = run_dir / "run" / "libvirt" / "libvirt-sock"
    _wait(process, address, log, timeout)
    return Libvirtd(uri=f"qemu:///session?socket={address}", process=process)


def stop(daemon: Libvirtd) -> None:
    """End the daemon and leave its guests running."""
    daemon.process.kill()
    daemon.process.wait()


def _wait(process: subprocess.Popen[bytes], address: Path, log: Path, timeout: float) -> None:
    """A killed daemon leaves its socket behind, so only a connection tells."""
    end = time.monotonic() + timeout
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(address)) == 0:
                return
        if process.poll() is not None:
            what = f"ended at once: {daemons.tail(log)}"
            raise Failed(what, where="libvirtd")
        if time.monotonic() > end:
            process.kill()
            process.wait()
            what = f"no answer within {timeout:g} s: {daemons.tail(log)}"
            raise TimedOut(what, where="libvirtd")
        time.sleep(0.02)
