"""smartvif, all the way that a plug goes: request, look-up, plan, journal, links, switch."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from bench.plug import cases
from bench.plug.cases import Case
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.host import sriov
from smartvif.host.representors import Representors
from smartvif.host.sriov import Vf
from smartvif.model.pci import PciAddress
from smartvif.model.vif import Machine
from smartvif.openstack.os_vif.convert import from_osvif
from smartvif.plug import executor
from smartvif.plug.executor import PortPlan
from smartvif.plug.journal import Journal
from smartvif.plug.plans.inputs import PortDevices, devices
from smartvif.sim.host import OPENVSWITCH
from smartvif.switches.prepare import prepare_port

_T = TypeVar("_T")


class Smartvif:
    """The chain from an os-vif object on, with its journal in ``state``."""

    def __init__(self, state: Path) -> None:
        import os_vif

        os_vif.initialize()
        self._vifs: dict[Case, Any] = {}
        self.representors = Representors()
        self.journal = Journal(state)
        self.drivers = Drivers(
            links=Links(),
            switches={"ovs": OpenVSwitch(Ovsdb(f"unix:{OPENVSWITCH}/db.sock"), timeout=60)},
        )

    def plug(self, case: Case) -> None:
        """Plug one port."""
        port = self._port_plan(case)
        executor.plug(port, self.journal, self.drivers)

    def plug_all(self, wanted: Sequence[Case]) -> None:
        """Plug any number of ports by one call."""
        ports = [self._port_plan(case) for case in wanted]
        for error in executor.plug_many(ports, self.journal, self.drivers).values():
            raise error

    def _port_plan(self, case: Case) -> PortPlan:
        if case not in self._vifs:
            self._vifs[case] = cases.vif(case)
        vif = from_osvif(self._vifs[case])
        found = None
        if vif.dev_address is not None:
            found = self.devices(vif.dev_address)
            # The steps of a real host: a simulated VF has some more, which stand in for hardware.
            found = replace(found, vf=replace(found.vf, simulated=False))
        machine = Machine(uuid=cases.VM, name="bench")
        return prepare_port(vif, machine, found, switch_simulated=False)

    def unplug(self, case: Case) -> None:
        """Take it away again."""
        executor.unplug(case.id, self.journal, self.drivers)

    def look_up(self, address: str) -> str:
        """The representor of a VF."""
        return str(self.devices(PciAddress.parse(address)).representor)

    def look_up_cold(self, address: str) -> str:
        """The same, by a process that has not looked for anything before."""
        self.representors = Representors()
        return self.look_up(address)

    def read_vf(self, address: str) -> Vf:
        """What sysfs says of the VF."""
        return sriov.vf(PciAddress.parse(address))

    def devices(self, address: PciAddress) -> PortDevices:
        """The VF and its representor."""
        return devices(sriov.vf(address), self.representors, with_uplink=False)


class Watched(Smartvif):
    """The same with a clock on each of its parts. For one thread."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._mark = 0.0
        self.journal = self._watched(self.journal, "journal")
        self.drivers.links = self._watched(self.drivers.links, "netlink")
        switch = self.drivers.need(OpenVSwitch)
        switch.db = self._watched(switch.db, "OVSDB")

    def devices(self, address: PciAddress) -> PortDevices:
        """As above."""
        with self._part("look-up"):
            return super().devices(address)

    def parts(self, method: str, case: Case) -> dict[str, float]:
        """Call ``plug`` or ``unplug``: the seconds spent in each part."""
        self._seconds.clear()
        with self._part("rest"):
            getattr(self, method)(case)
        return dict(self._seconds)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Count the time for ``name``, and until it ends no longer for the part around it."""
        self._count()
        self._stack.append(name)
        try:
            yield
        finally:
            self._count()
            self._stack.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self._seconds[self._stack[-1]] += now - self._mark
        self._mark = now

    def _watched(self, target: _T, name: str) -> _T:
        part = self._part

        class Clocked:
            def __getattr__(self, attribute: str) -> Any:
                value = getattr(target, attribute)
                if not callable(value):
                    return value
                label = f"{name} {attribute}" if name == "OVSDB" else name

                def called(*arguments: Any, **named: Any) -> Any:
                    with part(label):
                        return value(*arguments, **named)

                return called

            @contextmanager
            def locked(self, port: str) -> Iterator[bool]:
                """As the journal's, where the work inside is not the journal's."""
                with ExitStack() as stack:
                    with part(name):
                        held = stack.enter_context(target.locked(port))  # type: ignore[attr-defined]
                    yield held
                    with part(name):
                        stack.close()

        return cast(_T, Clocked())
