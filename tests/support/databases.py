"""A MariaDB and a PostgreSQL of a test's own: on a Unix socket in a directory of theirs, no TCP.

Both are Debian's binaries, and the data are thrown away, so nothing is synced to disk. They run as
whoever runs the tests. They end with their parent, even where that is killed.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

LONGEST = 60  # seconds until a daemon has to be there, or gone
MARIADB = Path("/usr/sbin/mariadbd")
# /usr/lib/postgresql/15/bin; the newest, where there are several.
POSTGRESQL = sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name)
)
NAME = "placement"
# PostgreSQL refuses to run as root, and is as content with a user who is root outside only.
_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


@contextmanager
def daemon(
    command: Sequence[str | Path],
    directory: Path,
    *,
    user: Sequence[str] = (),
    stop: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
    files: Sequence[int] = (),
) -> Iterator[int]:
    """A program that runs while the context does, from when it says that it is ready.

    It says so as to systemd (sd_notify(3)). ``user`` is a command that makes it another user.
    The context's value is its pid.
    """
    # A new user namespace would take away the tie to the parent, so that comes first.
    tie = ("setpriv", "--pdeathsig", stop.name.removeprefix("SIG"))
    log = directory / "log"
    notify = directory / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ready, log.open("wb") as out:
        ready.bind(str(notify))
        process = subprocess.Popen(
            [*user, *tie, *command],
            cwd=directory,
            env={**os.environ, **(environment or {}), "NOTIFY_SOCKET": str(notify)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=files,
        )
        pidfd = os.pidfd_open(process.pid)
        try:
            _await_ready(ready, pidfd, log)
            yield process.pid
        finally:
            os.close(pidfd)
            process.send_signal(stop)
            process.wait(LONGEST)
            notify.unlink()


def _await_ready(ready: socket.socket, pidfd: int, log: Path) -> None:
    while True:
        readable, _, _ = select.select([ready.fileno(), pidfd], [], [], LONGEST)
        assert ready.fileno() in readable, log.read_text()
        if b"READY=1" in ready.recv(4096).splitlines():
            return


@contextmanager
def mariadb(directory: Path) -> Iterator[str]:
    """A MariaDB without users: whoever reaches its socket may do everything."""
    if not MARIADB.exists():
        pytest.skip(f"there is no {MARIADB}: apt-get install mariadb-server-core")
    data, path = directory / "data", directory / "socket"
    data.mkdir()
    command: list[str | Path] = [
        MARIADB,
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={path}",
        "--skip-networking",
        "--skip-grant-tables",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-log-file-size=16M",
        *(["--user=root"] if os.geteuid() == 0 else []),
    ]
    with daemon(command, directory):
        import pymysql

        with closing(pymysql.connect(unix_socket=str(path), user="root")) as connection:
            connection.cursor().execute(f"CREATE DATABASE {NAME} CHARACTER SET utf8mb4")
        yield f"mysql+pymysql://root@localhost/{NAME}?unix_socket={path}"


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """A PostgreSQL that trusts whoever reaches its socket."""
    if not POSTGRESQL:
        pytest.skip("there is no /usr/lib/postgresql/*/bin: apt-get install postgresql")
    data, user = directory / "data", _NOBODY if os.geteuid() == 0 else ()
    binaries = POSTGRESQL[-1]
    initdb = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
    subprocess.run(
        [*user, binaries / "initdb", *initdb, f"--username={NAME}", "--pgdata", data],
        cwd=directory,
        check=True,
        capture_output=True,
    )
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(directory),
        "fsync": "off",
        "shared_buffers": "32MB",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command: list[str | Path] = [binaries / "postgres", "-D", data, *options]
    # By SIGQUIT it ends at once, and takes its shared memory with it.
    with daemon(command, directory, user=user, stop=signal.SIGQUIT):
        import psycopg2

        with closing(psycopg2.connect(host=str(directory), user=NAME, dbname="postgres")) as made:
            made.autocommit = True
            made.cursor().execute(f"CREATE DATABASE {NAME}")
        yield f"postgresql+psycopg2://{NAME}@/{NAME}?host={directory}"


DATABASES = {"mariadb": mariadb, "postgresql": postgresql}
