"""The files by which ports are made again after a reboot: libvirt's hook and a unit of systemd.

They are known by a mark in them, and what has none is never changed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from smartvif.model.errors import Failed, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "# Installed by smartvif: 'smartvif host uninstall' removes it."
_HOOK = PurePosixPath("/etc/libvirt/hooks/qemu.d/smartvif")
_UNIT = PurePosixPath("/etc/systemd/system/smartvif-ports.service")
_WANTED = PurePosixPath("/etc/systemd/system/multi-user.target.wants/smartvif-ports.service")

# libvirt waits for its hooks without end, and so the hook itself has one. timeout(1) exits with 124
# where SIGTERM has ended the command, with 137 where SIGKILL had to.
_HOOK_TEXT = """\
#!/bin/sh
{mark}
# Makes the ports of a machine that starts. Arguments and input: libvirt.org/hooks.html
[ "$2" = prepare ] || exit 0
{environment}timeout --kill-after=5 60 {command} libvirt-hook "$@"
code=$?
case $code in 124 | 137)
    echo "error: machine $1: its ports were not made within 60 s" >&2
    echo " hint: smartvif reconcile says what is wrong with them" >&2
esac
exit $code
"""

# Each name that distributions have for a service is listed; those that are not there do not count.
_UNIT_TEXT = """\
{mark}
# Makes the ports of smartvif again after a boot, before machines start. What makes VFs and sets
# switchdev mode has to be ordered before it, as this one: Before=smartvif-ports.service

[Unit]
Description=Ports that smartvif has attached
After=network-pre.target network.target
After=openvswitch-switch.service openvswitch.service ovsdb-server.service ovs-vswitchd.service
After=smartvif-forwarder.service
Before=libvirtd.service virtqemud.service libvirt-guests.service

[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={command} reconcile --without-libvirt
# Machines are not kept from starting: the hook of libvirt makes the ports of each again.
TimeoutStartSec=120

[Install]
WantedBy=multi-user.target
"""


class FileState(StrEnum):
    """The state of a file; the values are for people and JSON."""

    INSTALLED = "installed"
    MISSING = "missing"
    OUTDATED = "outdated"
    FOREIGN = "not smartvif's"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A file with its text and its mode."""

    path: PurePosixPath
    text: str
    mode: int = 0o644

    def state(self, at: Path) -> FileState:
        """The state of what is ``at`` the path."""
        if not os.path.lexists(at):
            return FileState.MISSING
        if not at.is_file() or MARK not in (found := at.read_text(errors="replace")):
            return FileState.FOREIGN
        same = found == self.text and at.stat().st_mode & 0o777 == self.mode
        return FileState.INSTALLED if same else FileState.OUTDATED

    def write(self, at: Path) -> None:
        """Make it, whole or not at all."""
        new = at.with_name(f".{at.name}.new")
        new.write_text(self.text)
        new.chmod(self.mode)
        new.replace(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink:
    """A symbolic link: systemd's of an enabled unit."""

    path: PurePosixPath
    target: PurePosixPath

    def state(self, at: Path) -> FileState:
        """The state of what is ``at`` the path."""
        if not os.path.lexists(at):
            return FileState.MISSING
        if at.is_symlink() and at.readlink() == Path(self.target):
            return FileState.INSTALLED
        return FileState.FOREIGN

    def write(self, at: Path) -> None:
        """Make it."""
        at.symlink_to(self.target)


Installed = HostFile | HostLink


def host_files(command: Path, environment: Mapping[str, str]) -> tuple[Installed, ...]:
    """The files of a host whose smartvif is ``command``, an absolute path.

    ``environment`` are the variables that it finds its configuration by: neither libvirt nor
    systemd passes any on.
    """
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    variables = [f"Environment={_quoted(f'{key}={value}')}\n" for key, value in environment.items()]
    hook = _HOOK_TEXT.format(
        mark=MARK, environment="".join(exports), command=shlex.quote(str(command))
    )
    unit = _UNIT_TEXT.format(
        mark=MARK, environment="".join(variables), command=_quoted(str(command))
    )
    return (
        HostFile(path=_HOOK, text=hook, mode=0o755),
        HostFile(path=_UNIT, text=unit),
        HostLink(path=_WANTED, target=_UNIT),
    )


def states(files: Sequence[Installed], root: Path) -> dict[str, FileState]:
    """The state of each file below ``root``, by its path on the host.

    Raises: Failed, where one cannot be read.
    """
    with _failing():
        return {str(each.path): each.state(_below(root, each)) for each in files}


def install(files: Sequence[Installed], root: Path, *, dry_run: bool = False) -> list[str]:
    """Write the files that are missing or outdated; returns their paths. Idempotent.

    Raises: Refused, where another's file is in the place of one: then nothing is changed; Failed.
    """
    found = states(files, root)
    for path, state in found.items():
        if state is FileState.FOREIGN:
            raise Refused(
                "there is a file that smartvif has not installed",
                where=path,
                hint="move it away, then: smartvif host install",
            )
    wanted = [each for each in files if found[str(each.path)] is not FileState.INSTALLED]
    with _failing():
        for each in () if dry_run else wanted:
            at = _below(root, each)
            at.parent.mkdir(parents=True, exist_ok=True)
            each.write(at)
    return [str(each.path) for each in wanted]


def uninstall(files: Sequence[Installed], root: Path) -> list[str]:
    """Remove the files, and leave others' in their places; returns the paths. Idempotent.

    Raises: Failed.
    """
    found = states(files, root)
    ours = [
        each
        for each in reversed(files)
        if found[str(each.path)] in (FileState.INSTALLED, FileState.OUTDATED)
    ]
    with _failing():
        for each in ours:
            _below(root, each).unlink()
    return [str(each.path) for each in ours]


def _below(root: Path, file: Installed) -> Path:
    return root / file.path.relative_to("/")


def _quoted(text: str) -> str:
    """The text as one word in a unit (systemd.syntax(7), "Quoting"; systemd.unit(5), "%%")."""
    plain = text.replace("%", "%%")
    if not set(plain) & set(" \t\"'\\$"):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "run it as root" if isinstance(error, PermissionError) else ""
        raise Failed(error.strerror or str(error), where=str(error.filename), hint=hint) from error
