"""OpenStack's Placement under gunicorn, with any token good, on a database of a test's own."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tests.support.databases import DATABASES, LONGEST, daemon

WORKERS, THREADS = 2, 8
RIGHT = 1  # allocation_conflict_retry_count without which Placement over-allocates
_PLACEMENT = """\
[api]
auth_strategy = noauth2
[placement_database]
connection = {connection}
[placement]
allocation_conflict_retry_count = {retries}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A database that Placement has its tables in."""

    kind: str
    directory: Path
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Placement that runs: its address and its configuration file."""

    url: str
    config: Path


@contextmanager
def store(kind: str) -> Iterator[Store]:
    """A ``mariadb`` or ``postgresql`` with Placement's tables."""
    # A socket's path has room for 107 bytes, and pytest's own directories are longer.
    with tempfile.TemporaryDirectory(prefix="pl-", dir="/tmp") as temporary:
        directory = Path(temporary)
        (directory / "db").mkdir()
        with DATABASES[kind](directory / "db") as connection:
            found = Store(kind=kind, directory=directory, connection=connection)
            manage = Path(sys.executable).with_name("placement-manage")
            config = _configure(found, directory, RIGHT)
            subprocess.run(
                [manage, "--config-file", config, "db", "sync"],
                check=True,
                capture_output=True,
            )
            yield found


@contextmanager
def service(
    where: Store, *, retries: int = RIGHT, workers: int = WORKERS, threads: int = THREADS
) -> Iterator[Service]:
    """A Placement on a port of the loopback that nobody else can take."""
    with (
        tempfile.TemporaryDirectory(dir=where.directory) as temporary,
        socket.create_server(("127.0.0.1", 0), backlog=256) as listener,
    ):
        directory = Path(temporary)
        config = _configure(where, directory, retries)
        environment = {"OS_PLACEMENT_CONFIG_DIR": str(directory)}
        command = [
            sys.executable,
            *("-m", "gunicorn", "--no-control-socket", "--worker-class=gthread"),
            f"--workers={workers}",
            f"--threads={threads}",
            f"--timeout={LONGEST}",
            f"--bind=fd://{listener.fileno()}",
            "placement.wsgi.api:application",
        ]
        with daemon(command, directory, environment=environment, files=[listener.fileno()]):
            host, port = listener.getsockname()
            listener.close()  # gunicorn has it, and nobody else should where gunicorn ends
            url = f"http://{host}:{port}"
            with urllib.request.urlopen(url, timeout=LONGEST) as answer:
                assert answer.status == HTTPStatus.OK
            yield Service(url=url, config=config)


def _configure(where: Store, directory: Path, retries: int) -> Path:
    config = directory / "placement.conf"
    config.write_text(_PLACEMENT.format(connection=where.connection, retries=retries))
    return config
