"""Signals that end a command, and output that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SMARTVIF = Path(sys.executable).with_name("smartvif")

CHANGES = """
import sys
import time
import click
from smartvif.cli import main, process

@click.command()
@click.argument("how")
def change(how):
    if how == "slow":
        try:
            click.echo("begun", err=True)
            time.sleep(60)
        finally:
            time.sleep(0.2)
            click.echo("rolled back", err=True)
    with process.reporting():
        click.echo("\\u2713 made" * 10)
    click.echo("ended", err=True)

main.cli = change
main.main()
"""


def shell(script: str, *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What a person's shell makes of it; ``$SMARTVIF`` and ``$CHANGE`` are commands."""
    change = f"{sys.executable} -c '{CHANGES}'"
    words = {"SMARTVIF": str(SMARTVIF), "CHANGE": change}
    return subprocess.run(
        ["bash", "-c", script.replace("$CHANGE", change)],
        capture_output=True,
        text=True,
        env={**os.environ, **words, **(env or {})},
        check=False,
    )


@pytest.mark.parametrize(
    ("redirection", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_a_question_whose_answer_cannot_be_written(redirection: str, why: str) -> None:
    """It fails: what it would print is all that it is for."""
    done = shell(f"$SMARTVIF --help {redirection}")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: stdout: cannot write: {why}\n hint: what it printed is not complete\n"
    )


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "| true"])
def test_a_change_that_cannot_be_reported(redirection: str) -> None:
    """It was made, and the exit code says so."""
    done = shell(f"set -o pipefail; $CHANGE quick {redirection}")
    assert done.returncode == 0, done
    warned = "warning: what was done could not be printed" in done.stderr
    assert warned == (redirection != "| true")
    assert done.stderr.endswith("ended\n")


def test_a_reader_that_has_gone() -> None:
    """The command ends as other commands do, without a word."""
    done = shell("set -o pipefail; (sleep 1; $SMARTVIF --help) | true")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_errors_that_cannot_be_written(redirection: str) -> None:
    """They are lost, and the exit code is what it was."""
    assert shell(f"$SMARTVIF no-such-command {redirection}").returncode == 2
    assert shell(f"$CHANGE quick {redirection}").returncode == 0


@pytest.mark.parametrize(("encoding", "sign"), [("ascii", "✓"), ("iso-8859-1", "+")])
def test_a_terminal_without_unicode(encoding: str, sign: str) -> None:
    """It gets other signs; click takes ASCII for a mistake, and writes UTF-8."""
    done = shell("$CHANGE quick", env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stdout) == (0, f"{sign} made" * 10 + "\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_rolls_back(number: signal.Signals) -> None:
    """What the command is at is rolled back, and the next signal does not interrupt that."""
    with subprocess.Popen(
        ["env", "--default-signal", sys.executable, "-c", CHANGES, "slow"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        process.send_signal(number)
        if number != signal.SIGINT:
            process.send_signal(signal.SIGTERM)
        words = process.stderr.read()
    ended = "\ninterrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert words == f"rolled back\n{ended}\n"
    assert process.returncode == 128 + number


def test_a_hangup_that_the_caller_ignores() -> None:
    """As under nohup(1)."""
    with subprocess.Popen(
        ["nohup", sys.executable, "-c", CHANGES, "slow"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "begun\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read() == "rolled back\nended by SIGTERM\n"
    assert process.returncode == 128 + signal.SIGTERM
