"""A process in user, mount, network, PID, IPC and UTS namespaces of its own.

Nothing that happens inside reaches the real host, and the kernel takes all of it away when the
first process inside ends: processes with the PID namespace, netdevs with the network namespace,
files with the tmpfs of the mount namespace. Every parent-child pair is tied by PR_SET_PDEATHSIG
(prctl(2)), so killing the outermost process ends everything, whatever the signal.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from smartvif.model.errors import Failed, SmartvifError

# include/uapi/linux/sched.h
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_HOST = _NEWNS | _NEWUTS | _NEWIPC | _NEWNET
# include/uapi/linux/mount.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h

_INTERRUPTS = (signal.SIGINT, signal.SIGQUIT)  # what Ctrl-C and Ctrl-\ send
_NOBODY = 65534  # the default of fs/overflowuid (proc(5))
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_libc = ctypes.CDLL(None, use_errno=True)


def run(main: Callable[[], int]) -> int:
    """Run ``main`` as the first process of fresh namespaces and return its exit code.

    The caller appears as root inside. The real root keeps its whole range of users, so that it
    still reads what it could read before; anyone else is mapped alone.

    Raises: Failed, where the kernel does not allow user namespaces.
    """
    ready, go = os.pipe(), os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with interrupts_ignored():
        child = os.fork()
        if child == 0:
            _child(main, ready[1], go[0])
        os.close(ready[1])
        os.close(go[0])
        failure = os.read(ready[0], 4096).decode()
        try:
            if failure != "unshared":
                raise _refused(failure)
            _map_users(child)
            os.write(go[1], b"!")
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        finally:
            os.close(ready[0])
            os.close(go[1])
        return exit_code(os.waitpid(child, 0)[1])


def enter_mounts() -> None:
    """Give this process a mount namespace of its own below the present one."""
    _check(_libc.unshare(_NEWNS), "unshare")
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)


def separate(hostname: str) -> None:
    """Make this process a host of its own: its mounts, its network, its IPC and its name.

    Users and processes stay those of the present namespaces.
    Raises: Failed.
    """
    _check(_libc.unshare(_HOST), "unshare")
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    socket.sethostname(hostname)


def enter(process: int) -> None:
    """Join the host that the process with that number has made itself (``separate``).

    The working directory stays the one of the same name.
    Raises: Failed, where the process has ended.
    """
    here = Path.cwd()
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError as error:
        raise Failed(f"process {process} of the host has ended", where="sim") from error
    try:
        _check(_libc.setns(descriptor, _HOST), "setns")
    finally:
        os.close(descriptor)
    os.chdir(here)  # setns(2) has led to the root


def mount(source: str, target: str, *, kind: str | None = None, flags: int = 0) -> None:
    """mount(2).

    Raises: Failed.
    """
    kind_bytes = kind.encode() if kind else None
    result = _libc.mount(source.encode(), target.encode(), kind_bytes, flags, None)
    _check(result, f"mount {kind or source} on {target}")


def bind(source: str | Path, target: str | Path) -> None:
    """Show ``source`` and what is mounted below it at ``target``.

    Raises: Failed.
    """
    mount(str(source), str(target), flags=_MS_BIND | _MS_REC)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def single_user() -> None:
    """Enter a user namespace in which the present user is an unprivileged one.

    libvirt looks up the name of the number, and every system has one for this number.
    """
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_NOBODY} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{_NOBODY} {gid} 1")


def guarded(main: Callable[[], int]) -> int:
    """The exit code of ``main``, for the last frame of a process: whatever it raises is said."""
    try:
        code = main()
    except SmartvifError as error:
        print(error.explained(), file=sys.stderr)
        code = error.exit_code
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Leave a terminal's interrupts to the command that is waited for, as system(3) does."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in _INTERRUPTS]
    try:
        yield
    finally:
        for number, action in before:
            signal.signal(number, action)


def end_on_interrupt() -> None:
    """Have signals that end a command end this process, whatever it is at.

    As an exception they would be lost where Python takes none, as in its hooks around a fork; and
    there is nothing to clean up that does not go with the namespaces.
    """
    for number in (*_INTERRUPTS, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _child(main: Callable[[], int], ready: int, go: int) -> NoReturn:
    """Between the namespaces: unshare, wait to be mapped, fork the first process inside."""
    parent = os.getppid()
    try:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        try:
            flags = _NEWUSER | _NEWNS | _NEWNET | _NEWPID | _NEWIPC | _NEWUTS
            _check(_libc.unshare(flags), "unshare")
        except SmartvifError as error:
            os.write(ready, str(error).encode())
            os._exit(1)
        os.write(ready, b"unshared")
        os.read(go, 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        die_with_parent()  # the calls above have cleared it (prctl(2))
        first = os.fork()
        if first == 0:
            die_with_parent()
            os._exit(guarded(partial(_fresh, main)))
        os._exit(exit_code(os.waitpid(first, 0)[1]))
    finally:
        os._exit(1)


def _fresh(main: Callable[[], int]) -> int:
    """The first process inside: it reaps whatever ends, so that no process waits for a dead one.

    libvirt, for one, kills the QEMU that it asks for its abilities, and waits until it is gone.
    """
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    mount("proc", "/proc", kind="proc")
    worker = os.fork()
    if worker == 0:
        die_with_parent()
        end_on_interrupt()
        os._exit(guarded(main))
    while True:
        process, status = os.waitpid(-1, 0)
        if process == worker:
            return exit_code(status)


def _map_users(child: int) -> None:
    proc = Path("/proc") / str(child)
    try:
        if os.geteuid() == 0:
            for kind in ("uid_map", "gid_map"):
                extents = [
                    line.split() for line in Path("/proc/self", kind).read_text().split("\n")
                ]
                lines = [f"{inside} {inside} {count}" for inside, _, count in filter(None, extents)]
                (proc / kind).write_text("\n".join(lines))
        else:
            (proc / "setgroups").write_text("deny")
            (proc / "uid_map").write_text(f"0 {os.geteuid()} 1")
            (proc / "gid_map").write_text(f"0 {os.getegid()} 1")
    except OSError as error:
        raise _refused(str(error)) from error


def _refused(reason: str) -> Failed:
    if _APPARMOR.exists() and _APPARMOR.read_text().strip() == "1":
        hint = "run it as root, or: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    else:
        hint = "run it as root, or allow them: sysctl user.max_user_namespaces=10000"
    return Failed(f"user namespaces are not allowed here: {reason}", where="sim", hint=hint)


def _check(result: int, call: str) -> None:
    if result != 0:
        raise Failed(f"{call}: {os.strerror(ctypes.get_errno())}", where="sim")


def exit_code(status: int) -> int:
    """As a shell says it: 128 + the signal's number for a killed process."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
