"""The other host of a migration, by its ``smartvif receive``; the settings say how to run that."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any, Protocol

from smartvif.chain.offer import Offer
from smartvif.chain.settings import MigrationSettings
from smartvif.model.errors import CannotTell, Failed

_LONGEST = 300  # seconds; the guest's ports are made there, or a direct one is hot-plugged


class Peer(Protocol):
    """What a migration asks of the other host. Each raises Failed and CannotTell."""

    name: str
    libvirt: str

    def examine(self, offer: Offer) -> dict[str, Any]:
        """See receive.examine."""

    def prepare(self, offer: Offer) -> dict[str, str]:
        """See receive.prepare."""

    def finish(self, offer: Offer, interfaces: dict[str, str]) -> dict[str, str]:
        """See receive.finish."""

    def abandon(self, offer: Offer) -> None:
        """See receive.abandon."""


class RemotePeer:
    """The host called ``name``."""

    def __init__(self, name: str, settings: MigrationSettings) -> None:
        self.name = name
        self.libvirt = settings.libvirt.replace("{host}", name)
        self._remote = [word.replace("{host}", name) for word in shlex.split(settings.remote)]

    def examine(self, offer: Offer) -> dict[str, Any]:
        """See receive.examine."""
        return self._run("examine", offer.as_json())

    def prepare(self, offer: Offer) -> dict[str, str]:
        """See receive.prepare."""
        interfaces: dict[str, str] = self._run("prepare", offer.as_json())["interfaces"]
        return interfaces

    def finish(self, offer: Offer, interfaces: dict[str, str]) -> dict[str, str]:
        """See receive.finish."""
        document = {**offer.as_json(), "interfaces": interfaces}
        failed: dict[str, str] = self._run("finish", document)["failed"]
        return failed

    def abandon(self, offer: Offer) -> None:
        """See receive.abandon."""
        self._run("abandon", offer.as_json())

    def _run(self, verb: str, document: dict[str, Any]) -> dict[str, Any]:
        """Have the other host do its part; the words of its error are ours."""
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
            words = done.stderr.strip().removeprefix("error: ")
            raise Failed(words or f"exit code {done.returncode}", where=self.name)
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise CannotTell(
                f"it answers what is no answer: {done.stdout[:200]!r}",
                where=self.name,
                hint="does a shell's start-up file print something there?",
            ) from error
        return answer
