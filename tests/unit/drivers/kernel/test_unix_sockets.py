"""Sockets at which a process listens, and what is left of those at which none does."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartvif.drivers.kernel import unix_sockets
from smartvif.drivers.kernel.unix_sockets import is_served, remove_socket
from smartvif.model.errors import Failed


@pytest.fixture
def directory() -> Iterator[Path]:
    """One with a short name, because a socket's has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="s") as name:
        yield Path(name)


@pytest.mark.parametrize("listed", [True, False])
def test_a_socket_that_is_served(
    directory: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    """It stays, also one whose queue is full or that is in another network namespace."""
    if not listed:
        empty = directory / "unix"
        empty.write_text("Num RefCount Protocol Flags Type St Inode Path\n")
        monkeypatch.setattr(unix_sockets, "_SOCKETS", empty)
    path = directory / "a b.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            for _ in range(3):
                assert is_served(str(path))
                remove_socket(str(path))
                assert path.is_socket()
    assert not is_served(str(path))
    remove_socket(str(path))
    assert not path.exists()


def test_a_socket_that_was_only_bound(directory: Path) -> None:
    """A process that does not listen, as one that connects from an address, serves nothing."""
    path = directory / "s.sock"
    with socket.socket(socket.AF_UNIX) as client:
        client.bind(str(path))
        assert not is_served(str(path))
        remove_socket(str(path))
    assert not path.exists()


def test_what_is_no_socket(directory: Path) -> None:
    """A file is stale; what is not there, or cannot be, is served by none; a directory is kept."""
    file = directory / "file"
    file.touch()
    for path in (str(file), str(directory / "absent"), str(file / "x"), "/" + "d" * 200):
        assert not is_served(path)
    remove_socket(str(file))
    assert not file.exists()
    remove_socket(str(file))
    with pytest.raises(Failed, match="cannot remove"):
        remove_socket(str(directory))


def test_a_socket_of_another_user(directory: Path) -> None:
    """What may not be connected to is taken for served."""
    path = directory / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    directory.chmod(0o755)
    for mode, served in ((0o777, False), (0, True)):
        path.chmod(mode)
        assert seen_by_nobody(path) == served


def seen_by_nobody(path: Path) -> bool:
    """Whether a user without privileges, as whom root runs this, finds the socket served."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.chdir(path.parent)  # the way there may be closed to others
            if os.geteuid() == 0:
                os.setuid(65534)
            os._exit(int(is_served(path.name)))
        os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, 1}
    return code == 1
