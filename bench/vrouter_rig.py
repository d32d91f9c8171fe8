"""The simulated host's vRouter with every side at work on it, taking turns."""

from __future__ import annotations

import json
import os
import urllib.request
from functools import partial
from pathlib import Path

from cases import Case, Kind
from side import Worker
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.sim.vrouter import introspect
from vrouter_sides import PORTS, Plugin, Request, Script, port

_JOURNAL = Path("/run/bench/vrouter")


class VRouterRig:
    """The sides, and what is seen of their work from outside."""

    def __init__(self) -> None:
        self._smartvif = Worker("smartvif", partial(Plugin, _JOURNAL))
        self._script = Worker("script", Script)
        self._floor = Worker("floor", Request)
        self._files = PortFiles(PORTS)
        self._links = Links()

    def in_turn(self, number: int) -> list[Worker]:
        """The three sides, each time another one first."""
        sides = [self._smartvif, self._script, self._floor]
        return sides[number % 3 :] + sides[: number % 3]

    def prepare(self, side: Worker, case: Case) -> None:
        """Have the link up that only smartvif's plug brings up.

        The agent's work is another for a netdev that is up, and must be the same for every side.
        """
        if side is not self._smartvif and case.kind is Kind.REPRESENTOR:
            self._links.set_up(case.netdev)

    def see_plugged(self, side: Worker, case: Case) -> None:
        """See that the vRouter has the port, and its file, and forwards for a netdev that is there.

        Raises: RuntimeError.
        """
        known = self._files.read(case.id)
        if known is None or not port(case).is_said_by(known):
            raise RuntimeError(f"{side.name} wrote {known} for {case}")
        found = _interfaces()
        if found != {case.netdev: case.kind is Kind.REPRESENTOR}:
            raise RuntimeError(f"{side.name} gave the vRouter {found} for {case}")

    def see_unplugged(self, side: Worker, case: Case) -> None:
        """See that nothing is left, and undo what ``prepare`` did.

        Raises: RuntimeError.
        """
        left = [*os.listdir(PORTS), *_interfaces()]
        if left:
            raise RuntimeError(f"{side.name} left {left}")
        if case.kind is Kind.TAP:
            return
        if side is not self._smartvif:
            self._links.set_down(case.netdev)
        link = self._links.get(case.netdev)
        if link is None or link.up:
            raise RuntimeError(f"{side.name} left {link}")


def _interfaces() -> dict[str, bool]:
    """Whether the vRouter forwards for each of its ports' netdevs, by its own account."""
    address = f"http://127.0.0.1:{introspect.PORT}/interfaces"
    with urllib.request.urlopen(address) as answer:
        return {each["netdev"]: each["active"] for each in json.load(answer)["interfaces"]}
