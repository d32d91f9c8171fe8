"""Every error smartvif raises, and the exit code each gives the command.

    SmartvifError
    ├── Invalid        2  a value that can never be right: a malformed address, a wrong mode
    ├── NotFound       1  a well-formed name of something that is not there
    ├── Failed         1  the work was tried and did not succeed
    │   ├── Conflict   1  ... because a concurrent change was first
    │   ├── StepFailed 1  ... in a named step of a plan; the steps before it are undone
    │   └── TimedOut   1  ... before the deadline
    ├── CannotTell     3  unknown: the source did not answer; neither yes nor no
    │   ├── Ambiguous  3  ... or gave two answers
    │   └── Damaged    3  ... because what is stored cannot be read
    └── Refused        4  possible, but it would hurt something that is not ours

An error is *what* is wrong, *where*, and a *hint* how to repair it; three values, never glued.
"""

from __future__ import annotations

from typing import ClassVar


class SmartvifError(Exception):
    """The root: nothing else is raised on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        """All three on one line: os-vif keeps only this."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text

    def explained(self) -> str:
        """As a command says it on stderr: the hint on a line of its own."""
        where = f"{self.where}: " if self.where else ""
        hint = f"\n hint: {self.hint}" if self.hint else ""
        return f"error: {where}{self.what}{hint}"


class Invalid(SmartvifError):
    """A value that can never be right."""

    exit_code = 2


class NotFound(SmartvifError):
    """A well-formed name of something that is not there."""


class Failed(SmartvifError):
    """The work was tried and did not succeed."""


class Conflict(Failed):
    """Another client changed what the work was based on."""


class StepFailed(Failed):
    """A step of a plan failed; the steps before it have been undone.

    ``step`` is what the step does, in the imperative: "create tap tap0". It happened where its
    cause did, or at ``where`` if the cause does not know.
    """

    def __init__(self, step: str, cause: SmartvifError, *, where: str = "") -> None:
        super().__init__(
            f"cannot {step}: {cause.what}", where=cause.where or where, hint=cause.hint
        )
        self.step = step
        self.cause = cause


class TimedOut(Failed):
    """The work did not finish before the deadline."""


class CannotTell(SmartvifError):
    """The state is unknown: its source did not answer."""

    exit_code = 3


class Ambiguous(CannotTell):
    """More than one answer, and no rule that picks one."""


class Damaged(CannotTell):
    """A stored row cannot be read; ``where`` names the file, the table and the row."""


class Refused(SmartvifError):
    """Possible, but it would hurt something that is not ours."""

    exit_code = 4
