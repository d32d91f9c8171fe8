"""The command as a process: its exit code, signals that end it, output that cannot be written.

Whatever ends a command while it changes something, what it did is rolled back or finished, as at
Ctrl-C; and output that fails neither changes nor hides what was done.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO, TypeVar

import click

from smartvif.model.errors import Failed, SmartvifError

_S = TypeVar("_S", bound=io.TextIOWrapper)
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
_PLAIN = {"✓": "+", "…": "..."}  # for terminals that have ASCII only; rich has its own for the rest


class Ended(BaseException):
    """A signal ends the command. As KeyboardInterrupt, it passes every ``except Exception``."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.exit_code = 128 + number  # as a shell says it

    def explained(self) -> str:
        """As a command says it on stderr; a reader that has gone is no news."""
        number = self.args[0]
        return "" if number == signal.SIGPIPE else f"ended by {number.name}\n"


class _First:
    """A handler that raises at the first signal only."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, number: int, _: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            raise Ended(signal.Signals(number))


class OutputFailed(Failed):
    """Something could not be written to stdout."""


def prepare() -> None:
    """Have signals raise ``Ended`` and writing raise ``OutputFailed``, or ``Ended`` by SIGPIPE.

    A signal that the caller ignores, as nohup(1) does, stays ignored. Only the first signal raises:
    a rollback is not interrupted by the next. What cannot be written to stderr is lost.
    """
    first = _First()
    for number in _ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, first)
    codecs.register_error("smartvif.plain", _in_ascii)
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _open_if_closed(descriptor, mode)
    sys.stdout = _guarded(sys.stdout, 1, _Stdout)
    sys.stderr = _guarded(sys.stderr, 2, _Stderr)


def exit_code(command: Callable[[], object], usage_text: Callable[[click.UsageError], str]) -> int:
    """Run a command that is not click's standalone; every error becomes a message and a code.

    ``usage_text`` has an error of click's in our form.
    """
    try:
        code = command()
    except SmartvifError as error:
        click.echo(error.explained(), err=True)
        code = error.exit_code
    except click.UsageError as error:
        click.echo(usage_text(error), err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = 130
    except Ended as ended:
        click.echo(ended.explained(), err=True, nl=False)
        code = ended.exit_code
    return code if isinstance(code, int) else 0


@contextmanager
def reporting() -> Iterator[None]:
    """Around the output of a command that has changed something: its exit code tells that.

    Where the output fails, a warning on stderr is all that comes of it.
    """
    try:
        yield
    except OutputFailed as error:
        click.echo(f"warning: what was done could not be printed: {error.what}", err=True)
    except Ended as ended:
        if ended.explained():
            raise


def _open_if_closed(descriptor: int, mode: int) -> None:
    """Occupy a closed descriptor, which else the next file or socket would get, and our output.

    Its mode is the wrong one, so that reading or writing fails as on a closed one.
    """
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, mode)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)


def _guarded(stream: TextIO | None, descriptor: int, kind: type[_S]) -> _S:
    """A stream like that one, or in place of a closed one.

    Never one of ASCII: click would make another on its buffer, and write UTF-8 to that.
    """
    raw = io.FileIO(descriptor, "w", closefd=False)
    encoding = codecs.lookup(getattr(stream, "encoding", "utf-8")).name
    return kind(
        io.BufferedWriter(raw),
        encoding="utf-8" if encoding == "ascii" else encoding,
        errors="smartvif.plain",
        line_buffering=raw.isatty(),
    )


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = (_PLAIN.get(sign) or ascii(sign)[1:-1] for sign in text)
    return "".join(plain), error.end


class _Stdout(io.TextIOWrapper):
    def write(self, text: str) -> int:
        with _failing(self):
            return super().write(text)

    def flush(self) -> None:
        with _failing(self):
            super().flush()


class _Stderr(io.TextIOWrapper):
    def write(self, text: str) -> int:
        with _silently(self):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with _silently(self):
            super().flush()


@contextmanager
def _failing(stream: io.TextIOWrapper) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _discard(stream)
        raise Ended(signal.SIGPIPE) from None
    except OSError as error:
        _discard(stream)
        what, hint = f"cannot write: {error.strerror}", "what it printed is not complete"
        raise OutputFailed(what, where="stdout", hint=hint) from error


@contextmanager
def _silently(stream: io.TextIOWrapper) -> Iterator[None]:
    try:
        yield
    except OSError:
        _discard(stream)


def _discard(stream: io.TextIOWrapper) -> None:
    """Let what is buffered, and all to come, be written nowhere: Python flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
