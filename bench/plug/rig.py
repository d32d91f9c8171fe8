"""One simulated host with every side at work on its bridge, taking turns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.plug.cases import Case, Kind
from bench.plug.floor import Floor
from bench.plug.osvif_peer import OsVif
from bench.plug.ours import Smartvif, Watched
from bench.plug.side import Worker
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import select
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.sim.host import host_switch

_JOURNALS = Path("/run/bench")
_PATIENCE = 10.0  # seconds
_QUIET = 0.1  # seconds; with 512 ports, a pass over them takes about a fifth of it


class Rig:
    """The sides, and what is seen of their work from outside.

    ``late`` counts the ports that did not work yet when os-vif said that they were plugged.
    """

    def __init__(self) -> None:
        self.smartvif = Worker("smartvif", partial(Smartvif, _JOURNALS / "smartvif"))
        self.os_vif = Worker("os-vif", OsVif)
        self.floor = Worker("floor", Floor)
        self.watched = Worker("smartvif, watched", partial(Watched, _JOURNALS / "watched"))
        self.late: Counter[Kind] = Counter()
        self.others = 0
        # After the processes above, which must not inherit its thread.
        self._ovs = OpenVSwitch(Ovsdb(host_switch().address))

    def in_turn(self, number: int) -> list[Worker]:
        """The three sides, each time another one first."""
        sides = [self.smartvif, self.os_vif, self.floor]
        return sides[number % 3 :] + sides[: number % 3]

    def fill(self, ports: int) -> None:
        """Have so many other ports on the bridge, each one end of a veth."""
        links, names = Links(), [f"other{number}" for number in range(self.others, ports)]
        for name in names:
            links.add_veth(name, f"{name}far")
            links.set_up(name)
        links.close()
        self.floor.call("add_ports", {name: {"iface-id": name} for name in names})
        self.others = ports

    def see_plugged(self, side: Worker, cases: Sequence[Case]) -> None:
        """Read what ``side`` has left in the database; wait for those of its ports that need it.

        Raises: RuntimeError, where it is not what every side has to leave.
        """
        for case in cases:
            port = self._ovs.port(case.netdev)
            if port is None or port.failure:
                self.late[case.kind] += 1
                if side is not self.os_vif:
                    raise RuntimeError(f"{side.name} did not wait for {case.netdev}")
        self._settle()
        give_up = time.monotonic() + _PATIENCE
        for case in cases:
            port = self._ovs.port(case.netdev)
            while port is None or port.failure:
                if time.monotonic() > give_up:
                    reason = port.failure if port else "it is not there"
                    raise RuntimeError(f"{side.name} left {case.netdev} unplugged: {reason}")
                time.sleep(0.02)
                port = self._ovs.port(case.netdev)
            if not case.external_ids.items() <= port.external_ids.items():
                raise RuntimeError(f"{side.name} wrote {port.external_ids} for {case}")

    def see_unplugged(self, side: Worker) -> None:
        """See that nothing is left but the other ports.

        Raises: RuntimeError.
        """
        self._settle()
        reads = [select(table, [], ["_uuid"]) for table in ("Port", "QoS")]
        ports, qos = self._ovs.db.transact(reads, self._ovs.deadline())
        # The bridge has a port of its own.
        left = len(ports["rows"]) - 1 - self.others, len(qos["rows"]) - self.others
        if left != (0, 0):
            raise RuntimeError(f"{side.name} left {left[0]} ports and {left[1]} QoS rows")

    def _settle(self) -> None:
        """Let ovs-vswitchd do what a side has left it to do, so that the next does not wait.

        After each change of a link or of its database it looks at every port again, sometimes
        more than once, and does not show when it is done.
        """
        self._ovs.db.commit([], self._ovs.deadline())
        time.sleep(_QUIET)
