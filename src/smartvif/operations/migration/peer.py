"""The other host of a migration, by its ``smartvif receive``; the settings say how to run that."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import Protocol

from smartvif.context.settings import MigrationSettings
from smartvif.model.document import JsonObject
from smartvif.model.error_codec import decode
from smartvif.model.errors import CannotTell, Failed, Invalid, Refused, SmartvifError
from smartvif.operations.migration.offer import DestinationCheck, MachineOffer

_LONGEST = 300  # seconds; the guest's ports are made there, or a direct one is hot-plugged
# ssh(1) exits with 255 where it cannot connect, a shell with the others where there is no command.
_NOT_RUN = (126, 127, 255)
_KINDS: dict[int, type[SmartvifError]] = {  # of an error without a document
    CannotTell.exit_code: CannotTell,
    Refused.exit_code: Refused,
    **dict.fromkeys(_NOT_RUN, CannotTell),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_SCHEMA = "smartvif.error/1"
_BEGIN = re.compile(r"^\{", re.MULTILINE)


class Peer(Protocol):
    """The other host, as a migration uses it. Each method raises its errors, or CannotTell."""

    @property
    def name(self) -> str:
        """Its name, as in ``--to``."""

    @property
    def libvirt(self) -> str:
        """The URI of its libvirt."""

    def check(self, offer: MachineOffer) -> DestinationCheck:
        """As ``destination.check``."""

    def prepare(self, offer: MachineOffer) -> dict[str, str]:
        """As ``destination.prepare``."""

    def finish(self, offer: MachineOffer, interfaces: dict[str, str]) -> dict[str, str]:
        """As ``destination.finish``."""

    def abandon(self, offer: MachineOffer) -> None:
        """As ``destination.abandon``."""


class RemotePeer:
    """The host called ``name``.

    Raises: Invalid, for a malformed host name or remote command.
    """

    def __init__(self, name: str, settings: MigrationSettings) -> None:
        # ssh would take one with a dash in front for an option.
        if not _NAME.fullmatch(name):
            raise Invalid(f"'{name}' is not a host name", where="--to", hint="host2, for one")
        self.name = name
        self.libvirt = settings.libvirt.replace("{host}", name)
        try:
            words = shlex.split(settings.remote)
        except ValueError as error:
            raise Invalid(f"remote: {error}", where="[migration]", hint='"ssh {host}"') from error
        self._remote = [word.replace("{host}", name) for word in words]

    def check(self, offer: MachineOffer) -> DestinationCheck:
        """As ``destination.check``."""
        answer = self._run("examine", offer.as_json())
        try:
            return DestinationCheck.from_json(answer, offer)
        except Invalid as error:
            raise CannotTell(error.what, where=self.name) from error

    def prepare(self, offer: MachineOffer) -> dict[str, str]:
        """As ``destination.prepare``."""
        interfaces: dict[str, str] = self._run("prepare", offer.as_json())["interfaces"]
        return interfaces

    def finish(self, offer: MachineOffer, interfaces: dict[str, str]) -> dict[str, str]:
        """As ``destination.finish``."""
        document = {**offer.as_json(), "interfaces": interfaces}
        failed: dict[str, str] = self._run("finish", document)["failed"]
        return failed

    def abandon(self, offer: MachineOffer) -> None:
        """As ``destination.abandon``."""
        self._run("abandon", offer.as_json())

    def _run(self, verb: str, document: JsonObject) -> JsonObject:
        """Run one part on the other host; raises its error, with its name in where."""
        argv = [*self._remote, "smartvif", "receive", verb]
        try:
            done = subprocess.run(
                argv,
                input=json.dumps(document),
                capture_output=True,
                text=True,
                timeout=_LONGEST,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotTell(
                f"cannot reach it: {error}",
                where=self.name,
                hint="remote in [migration] says how a command is run there",
            ) from error
        if done.returncode != 0:
            raise self._error(done)
        try:
            answer: JsonObject = json.loads(done.stdout)
            answer["schema"]
        except (ValueError, LookupError, TypeError) as error:
            raise CannotTell(
                f"its output is not a document of smartvif: {done.stdout[:200]!r}",
                where=self.name,
                hint="does a shell's start-up file print something there?",
            ) from error
        return answer

    def _error(self, done: subprocess.CompletedProcess[str]) -> SmartvifError:
        """The error of the command, from its document; without one, from its stderr."""
        kind = _KINDS.get(done.returncode, Failed)
        error = _documented(done.stdout, kind)
        if error is not None:
            error.where = f"{self.name}: {error.where}" if error.where else self.name
            return error
        not_run = done.returncode in _NOT_RUN
        return kind(
            done.stderr.strip() or f"exit code {done.returncode}",
            where=self.name,
            hint="remote in [migration] says how a command is run there" if not_run else "",
        )


def _documented(text: str, otherwise: type[SmartvifError]) -> SmartvifError | None:
    """The error whose document is in the output; a shell's start-up file may print around it."""
    for begin in _BEGIN.finditer(text):
        try:
            document, _ = json.JSONDecoder().raw_decode(text, begin.start())
            if document.get("schema") == _SCHEMA:
                return decode(document, otherwise=otherwise)
        except (ValueError, RecursionError, Invalid):
            continue
    return None
