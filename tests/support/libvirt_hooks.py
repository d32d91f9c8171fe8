"""Hooks of the simulated host's libvirtd, which reads them from /etc/libvirt/hooks only.

The directory is put there in the caller's mount namespace, so that nothing of the real host
changes. That libvirtd runs in a user namespace below the simulated host's, in which no tap can be
made. So the hook that it runs is a relay: it passes all on to the caller, who runs the real one,
and gives back what that said.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smartvif.sim.guest import libvirtd
from smartvif.sim.host import LIBVIRT, SIMULATION
from smartvif.sim.process import namespaces

_SOCKET = SIMULATION / "hook.sock"
_RELAY = """\
#!{python} -I
import json, socket, sys
relay = socket.socket(socket.AF_UNIX)
relay.connect("{socket}")
with relay.makefile("rw") as line:
    print(json.dumps([sys.argv[1:], sys.stdin.read()]), file=line, flush=True)
    code, out, err = json.loads(line.readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


@contextmanager
def hooked(hook: Path) -> Iterator[list[str]]:
    """Restart libvirtd with this hook; the operations that it is run for, as they come."""
    namespaces.mount("tmpfs", "/etc/libvirt", kind="tmpfs")
    namespaces.mount("sysfs", "/sys", kind="sysfs")  # libvirtd needs the processors in it
    relay = Path("/etc/libvirt/hooks/qemu.d/relay")
    relay.parent.mkdir(parents=True)
    relay.write_text(_RELAY.format(python=sys.executable, socket=_SOCKET))
    relay.chmod(0o755)
    seen: list[str] = []
    with socket.create_server(str(_SOCKET), family=socket.AF_UNIX) as server:
        threading.Thread(target=_serve, args=(server, hook, seen), daemon=True).start()
        os.kill(int((LIBVIRT / "run/libvirt/libvirtd.pid").read_text()), signal.SIGKILL)
        libvirtd.start(LIBVIRT)
        yield seen


def _serve(server: socket.socket, hook: Path, seen: list[str]) -> None:
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rw") as line:
            words, text = json.loads(line.readline())
            seen.append(words[1])
            # As libvirt runs it: with no variables but these.
            done = subprocess.run(
                [hook, *words],
                input=text,
                capture_output=True,
                text=True,
                check=False,
                env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            )
            answer = [done.returncode, done.stdout, done.stderr]
            print(json.dumps(answer), file=line, flush=True)
